Feature: Time
  Durations and timeouts.

  @row-87
  Scenario Outline: A duration is ISO 8601, an object or an expression
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-duration-is-iso-8601-an-object-or-an-e
      version: '1.0.0'
    do:
      - pause:
          wait: <wait>
    """
    And given the workflow input is:
    """yaml
    pause: PT0.06S
    """
    When the workflow is executed
    Then the workflow should complete
    And the workflow should take at least 60 ms
    And the workflow should take less than 10000 ms

    Examples:
      | wait                             |
      | PT0.06S                          |
      | { milliseconds: 60 }             |
      | { seconds: 0, milliseconds: 60 } |
      | '${ .pause }'                    |
      | '${ { milliseconds: 60 } }'      |

  @row-87
  Scenario: A month has no fixed length
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-month-has-no-fixed-length
      version: '1.0.0'
    do:
      - pause: { wait: P1M }
    """
    When the workflow is executed
    Then the workflow should be refused with 'invalid-duration' at '/do/0/pause/wait'

  @row-87
  Scenario: An object has no weeks
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-object-has-no-weeks
      version: '1.0.0'
    do:
      - pause: { wait: { weeks: 1 } }
    """
    When the workflow is executed
    Then the workflow should be refused with 'invalid-duration' at '/do/0/pause/wait'

  @row-88
  Scenario: A step that takes too long is a timeout, which can be caught
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-step-that-takes-too-long-is-a-timeout
      version: '1.0.0'
    do:
      - careful:
          try:
            - slow:
                call: lab.hold
                with: { name: conformance-never }
                timeout: { after: { milliseconds: 100 } }
          catch:
            errors:
              with: { status: 408 }
            do:
              - tell: { set: { at: '${ $error.instance }' } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    at: /do/0/careful/try/0/slow
    """

  @row-88
  Scenario: A list that takes too long is a timeout
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-list-that-takes-too-long-is-a-timeout
      version: '1.0.0'
    do:
      - list:
          timeout: { after: PT0.05S }
          do:
            - slow: { wait: PT1H }
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://open-workflow-specification.org/dsl/errors/types/timeout
    status: 408
    instance: /do/0/list
    """

  @row-88
  Scenario: A workflow that takes too long faults
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-workflow-that-takes-too-long-faults
      version: '1.0.0'
    timeout:
      after: { milliseconds: 50 }
    do:
      - slow: { wait: PT1H }
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://open-workflow-specification.org/dsl/errors/types/timeout
    status: 408
    """
