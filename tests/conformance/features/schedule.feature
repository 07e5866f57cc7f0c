Feature: Schedules
  When a workflow starts by itself.

  @row-17
  Scenario: A workflow starts at an interval, whether or not the one before has ended
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-workflow-starts-at-an-interval-whether
      version: '1.0.0'
    schedule:
      every: PT1S
    do:
      - hold: { wait: PT1H }
    """
    When the workflow is deployed
    Then 2 instances of the workflow should be started within 10000 ms

  @row-18 @trap-cron-zone
  Scenario: A workflow starts when the clock says, in UTC
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-workflow-starts-when-the-clock-says-in
      version: '1.0.0'
    schedule:
      cron: '* * * * * *'
    do:
      - one: { set: { at: '${ $workflow.startedAt.iso8601 }' } }
    """
    When the workflow is deployed
    Then 2 instances of the workflow should be started within 10000 ms

  @row-19
  Scenario: A workflow starts again a while after it has ended
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-workflow-starts-again-a-while-after-it
      version: '1.0.0'
    schedule:
      after: PT1S
    do:
      - one: { set: { n: 1 } }
    """
    When the workflow is deployed
    Then 2 instances of the workflow should be started within 10000 ms

  @row-20
  Scenario: An event starts an instance with itself as input
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-event-starts-an-instance-with-itself
      version: '1.0.0'
    schedule:
      on:
        one:
          with:
            type: com.example.conformance.started.v1
    do:
      - one: { set: { got: '${ $workflow.input[0] }' } }
    """
    When the workflow is deployed
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '1'
    source: https://example.com/conformance
    type: com.example.conformance.started.v1
    data: { order: 7 }
    """
    Then 1 instances of the workflow should be started within 10000 ms
    And the workflow should complete with output:
    """yaml
    got: { order: 7 }
    """

  @row-21
  Scenario: An event may be read with its envelope
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-event-may-be-read-with-its-envelope
      version: '1.0.0'
    schedule:
      on:
        one:
          with:
            type: com.example.conformance.read.v1
      read: envelope
    do:
      - one: { set: { got: '${ $workflow.input[0].type }' } }
    """
    When the workflow is deployed
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '1'
    source: https://example.com/conformance
    type: com.example.conformance.read.v1
    """
    Then 1 instances of the workflow should be started within 10000 ms
    And the workflow should complete with output:
    """yaml
    got: com.example.conformance.read.v1
    """
