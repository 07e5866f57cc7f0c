Feature: Extensions
  Tasks that run around others.

  @row-14 @row-16
  Scenario: Tasks run before and after every task that is extended
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: tasks-run-before-and-after-every-task-th
      version: '1.0.0'
    use:
      extensions:
        - watch:
            extend: set
            before:
              - earlier: { call: lab.echo, with: { task: before } }
            after:
              - later: { call: lab.echo, with: { task: after } }
    do:
      - pass:
          set: { n: '${ .n * 10 }' }
    """
    And given the workflow input is:
    """yaml
    n: 1
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: 10
    """
    And earlier should run before pass
    And later should run after pass
    And earlier should complete
    And later should complete

  @row-16 @trap-extension-data
  Scenario: What runs before and after a task leaves the data alone
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: what-runs-before-and-after-a-task-leaves
      version: '1.0.0'
    use:
      extensions:
        - watch:
            extend: call
            before:
              - earlier: { set: { n: 100 } }
            after:
              - later: { set: { n: 200 } }
    do:
      - add:
          call: lab.add
          with: { n: '${ .n }' }
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
    And later should run last

  @row-16
  Scenario: An exit before a task leaves it out
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-exit-before-a-task-leaves-it-out
      version: '1.0.0'
    use:
      extensions:
        - mock:
            extend: call
            when: $task.definition.with.mock == true
            before:
              - intercept:
                  set: { mocked: true }
                  then: exit
    do:
      - ask:
          call: lab.echo
          with: { mock: true }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    mocked: true
    """

  @row-16
  Scenario: An extension whose condition does not hold changes nothing
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-extension-whose-condition-does-not-ho
      version: '1.0.0'
    use:
      extensions:
        - mock:
            extend: call
            when: $task.definition.with.mock == true
            before:
              - intercept:
                  set: { mocked: true }
                  then: exit
    do:
      - ask:
          call: lab.echo
          with: { mock: false }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    mock: false
    """

  @row-16
  Scenario: The tasks of an extension are not extended
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-tasks-of-an-extension-are-not-extend
      version: '1.0.0'
    use:
      extensions:
        - watch:
            extend: all
            before:
              - earlier: { set: { n: 100 } }
    do:
      - pass:
          set: { n: '${ .n * 10 }' }
    """
    And given the workflow input is:
    """yaml
    n: 1
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: 10
    """
    And earlier should run 1 times

  @row-15
  Scenario: A call is extended by the kind of its task
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-call-is-extended-by-the-kind-of-its-ta
      version: '1.0.0'
    use:
      extensions:
        - watch:
            extend: call
            after:
              - later: { set: { seen: true } }
    do:
      - quiet:
          set: { n: 1 }
      - ask:
          call: lab.add
          with: { n: 1 }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: 2
    """
    And later should run 1 times

  @row-15 @trap-extend-composite
  Scenario: Composite means the tasks do and fork
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: composite-means-the-tasks-do-and-fork
      version: '1.0.0'
    use:
      extensions:
        - watch:
            extend: composite
            after:
              - later: { set: { seen: '${ . }' } }
    do:
      - list:
          do:
            - one: { set: { n: 1 } }
      - both:
          fork:
            branches:
              - left: { set: { n: 2 } }
              - right: { set: { n: 3 } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    [ { n: 2 }, { n: 3 } ]
    """
    And later should run 2 times
