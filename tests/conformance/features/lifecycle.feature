Feature: Life
  What becomes of an instance, and who is told.

  @row-91
  Scenario: An instance waits for time and then completes
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-instance-waits-for-time-and-then-comp
      version: '1.0.0'
    do:
      - pause: { wait: PT2S }
    """
    When the workflow is started
    Then the workflow should be waiting
    And the workflow should complete

  @row-91
  Scenario: An instance runs while a worker works
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-instance-runs-while-a-worker-works
      version: '1.0.0'
    do:
      - held: { call: lab.hold, with: { name: conformance-running } }
    """
    When the workflow is started
    Then the workflow should be running
    When the worker lets 'conformance-running' go
    Then the workflow should complete
    And held should complete

  @row-91
  Scenario: An instance faults
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-instance-faults
      version: '1.0.0'
    do:
      - fail:
          raise: { error: { type: 'https://example.com/errors/x', status: 500 } }
    """
    When the workflow is executed
    Then the workflow should fault
    And fail should fault

  @row-92
  Scenario: A suspended instance takes results and begins nothing until it is resumed
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-suspended-instance-takes-results-and-b
      version: '1.0.0'
    do:
      - held: { call: lab.hold, with: { name: conformance-suspended } }
      - next: { set: { went: on } }
    """
    When the workflow is started
    And the worker holds 'conformance-suspended'
    And the workflow is suspended
    Then the workflow should be suspended
    When the worker lets 'conformance-suspended' go
    Then held should be answered
    And next should run 0 times
    And the workflow should be suspended
    When the workflow is resumed
    Then the workflow should complete with output:
    """yaml
    went: on
    """

  @row-92
  Scenario: A cancelled instance ends, and its steps are taken back
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-cancelled-instance-ends-and-its-steps
      version: '1.0.0'
    do:
      - held: { call: lab.hold, with: { name: conformance-cancelled } }
    """
    When the workflow is started
    And the worker holds 'conformance-cancelled'
    And the workflow is cancelled
    Then the workflow should cancel
    And held should cancel

  @row-93 @row-95 @trap-lifecycle-payload
  Scenario: The life of a workflow is published as events
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-life-of-a-workflow-is-published-as-e
      version: '1.0.0'
    do:
      - one: { set: { n: 1 } }
    """
    When the workflow is executed
    Then the workflow should complete
    And the event 'io.serverlessworkflow.workflow.started.v1' should be published
    And the event 'io.serverlessworkflow.workflow.completed.v1' should be published

  @row-94
  Scenario: The life of a task is published as events
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-life-of-a-task-is-published-as-event
      version: '1.0.0'
    do:
      - one: { set: { n: 1 } }
    """
    When the workflow is executed
    Then the workflow should complete
    And the event 'io.serverlessworkflow.task.started.v1' should be published
    And the event 'io.serverlessworkflow.task.completed.v1' should be published

  @row-93 @row-94
  Scenario: A pause, a retry and an end by somebody else are told, too
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-pause-a-retry-and-an-end-by-somebody
      version: '1.0.0'
    do:
      - again:
          try:
            - fail: { raise: { error: { type: 'https://example.com/errors/x', status: 503 } } }
          catch:
            retry: { delay: { milliseconds: 10 }, limit: { attempt: { count: 2 } } }
            do: []
      - held: { call: lab.hold, with: { name: conformance-told } }
    """
    When the workflow is started
    And the worker holds 'conformance-told'
    And the workflow is suspended
    And the workflow is resumed
    And the workflow is cancelled
    Then the workflow should cancel
    And the event 'io.serverlessworkflow.task.created.v1' should be published
    And the event 'io.serverlessworkflow.task.faulted.v1' should be published
    And the event 'io.serverlessworkflow.task.retried.v1' should be published
    And the event 'io.serverlessworkflow.task.suspended.v1' should be published
    And the event 'io.serverlessworkflow.task.resumed.v1' should be published
    And the event 'io.serverlessworkflow.task.cancelled.v1' should be published
    And the event 'io.serverlessworkflow.workflow.suspended.v1' should be published
    And the event 'io.serverlessworkflow.workflow.resumed.v1' should be published
    And the event 'io.serverlessworkflow.workflow.cancelled.v1' should be published

  @row-93
  Scenario: A wait for an event and a fault are told, too
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-wait-for-an-event-and-a-fault-are-told
      version: '1.0.0'
    do:
      - paid:
          listen:
            to:
              one:
                with: { type: lifecycle.paid }
                correlate: { order: { from: .data.order, expect: '${ 7 }' } }
      - fail:
          raise: { error: { type: 'https://example.com/errors/x', status: 500 } }
    """
    When the workflow is started
    Then the workflow should be waiting
    When this event is published:
    """yaml
    { specversion: '1.0', id: paid, source: /tests, type: lifecycle.paid, data: { order: 7 } }
    """
    Then the workflow should fault
    And the event 'io.serverlessworkflow.workflow.correlation-started.v1' should be published
    And the event 'io.serverlessworkflow.workflow.correlation-completed.v1' should be published
    And the event 'io.serverlessworkflow.workflow.faulted.v1' should be published
