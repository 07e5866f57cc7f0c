Feature: Flow
  From one task to the next.

  @row-22
  Scenario: Tasks run in the order in which they stand
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: tasks-run-in-the-order-in-which-they-sta
      version: '1.0.0'
    do:
      - first: { set: { n: '${ [1] }' } }
      - second: { set: { n: '${ .n + [2] }' } }
      - third: { set: { n: '${ .n + [3] }' } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: [1, 2, 3]
    """
    And first should run first
    And second should run after first
    And third should run last

  @row-22
  Scenario: An empty list hands its input on
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-empty-list-hands-its-input-on
      version: '1.0.0'
    do: []
    """
    And given the workflow input is:
    """yaml
    a: 1
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    a: 1
    """

  @row-23
  Scenario: Continue goes to the next task
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: continue-goes-to-the-next-task
      version: '1.0.0'
    do:
      - first:
          set: { n: 1 }
          then: continue
      - second: { set: { n: '${ .n + 1 }' } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: 2
    """

  @row-24
  Scenario: Exit leaves one list, and the list around goes on
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: exit-leaves-one-list-and-the-list-around
      version: '1.0.0'
    do:
      - inner:
          do:
            - leave:
                set: { left: true }
                then: exit
            - never: { set: { never: true } }
      - after: { set: { left: '${ .left }', after: true } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { left: true, after: true }
    """
    And never should run 0 times

  @row-24
  Scenario: Exit of the outermost list ends the workflow
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: exit-of-the-outermost-list-ends-the-work
      version: '1.0.0'
    do:
      - leave:
          set: { left: true }
          then: exit
      - never: { set: { never: true } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    left: true
    """
    And leave should run last

  @row-25
  Scenario: End ends the workflow from any depth
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: end-ends-the-workflow-from-any-depth
      version: '1.0.0'
    do:
      - outer:
          do:
            - inner:
                do:
                  - stop:
                      set: { stopped: true }
                      then: end
            - never: { set: { never: true } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    stopped: true
    """
    And stop should run last

  @row-25
  Scenario: End in a branch takes the other branches with it
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: end-in-a-branch-takes-the-other-branches
      version: '1.0.0'
    do:
      - both:
          fork:
            branches:
              - held: { call: lab.hold, with: { name: conformance-never } }
              - stop:
                  set: { stopped: true }
                  then: end
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    stopped: true
    """
    And held should cancel

  @row-26
  Scenario: A task names the next one
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-task-names-the-next-one
      version: '1.0.0'
    do:
      - first:
          set: { n: [1] }
          then: third
      - second:
          set: { n: '${ .n + [2] }' }
          then: end
      - third:
          set: { n: '${ .n + [3] }' }
          then: second
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: [1, 3, 2]
    """

  @row-26 @trap-then-target
  Scenario: A target that the list does not have is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-target-that-the-list-does-not-have-is
      version: '1.0.0'
    do:
      - first:
          set: { n: 1 }
          then: inner
      - list:
          do:
            - inner: { set: { n: 2 } }
    """
    When the workflow is executed
    Then the workflow should be refused with 'unknown-target' at '/do/0/first/then'

  @row-26 @trap-then-target
  Scenario: Two tasks of one name in a list are refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: two-tasks-of-one-name-in-a-list-are-refu
      version: '1.0.0'
    do:
      - same: { set: { n: 1 } }
      - same: { set: { n: 2 } }
    """
    When the workflow is executed
    Then the workflow should be refused with 'duplicate-task' at '/do/1/same'

  @row-26 @trap-then-target
  Scenario: A task that is called like a directive is warned of, and the directive wins
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-task-that-is-called-like-a-directive-i
      version: '1.0.0'
    do:
      - first:
          set: { n: 1 }
          then: end
      - end: { set: { n: 2 } }
    """
    When the workflow is executed
    Then the author should be warned of 'directive-name' at '/do/1/end'
    And the workflow should complete with output:
    """yaml
    n: 1
    """

  @row-27
  Scenario: A task whose condition does not hold is skipped, and its raw input goes on
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-task-whose-condition-does-not-hold-is
      version: '1.0.0'
    do:
      - skipped:
          if: .n > 5
          input:
            from: .n
          set: { n: 0 }
    """
    And given the workflow input is:
    """yaml
    n: 1
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: 1
    """
    And skipped should be skipped

  @row-27
  Scenario: A task whose condition holds runs
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-task-whose-condition-holds-runs
      version: '1.0.0'
    do:
      - go:
          if: ${ .n > 5 }
          set: { went: true }
    """
    And given the workflow input is:
    """yaml
    n: 7
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    went: true
    """

  @row-27 @trap-then-when-skipped
  Scenario: The directive of a skipped task does not count
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-directive-of-a-skipped-task-does-not
      version: '1.0.0'
    do:
      - skipped:
          if: .n > 5
          set: { n: 0 }
          then: end
      - next: { set: { n: '${ .n + 1 }' } }
    """
    And given the workflow input is:
    """yaml
    n: 1
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: 2
    """
    And next should run last
