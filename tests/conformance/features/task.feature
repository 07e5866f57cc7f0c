Feature: Tasks
  What each kind of task does.

  @row-55
  Scenario: A list is a task whose output is that of its last
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-list-is-a-task-whose-output-is-that-of
      version: '1.0.0'
    do:
      - list:
          do:
            - one: { set: { n: 1 } }
            - two: { set: { n: '${ .n + 1 }' } }
          output:
            as: '{ got: .n }'
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    got: 2
    """
    And list should complete with output:
    """yaml
    got: 2
    """

  @row-57
  Scenario: Each pass gets the output of the one before, and the last gives the output
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: each-pass-gets-the-output-of-the-one-bef
      version: '1.0.0'
    do:
      - loop:
          for:
            each: word
            in: .words
            at: place
          do:
            - append:
                set: { text: '${ (.text // "") + $word + "\($place)" }' }
    """
    And given the workflow input is:
    """yaml
    words: [ a, b, c ]
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    text: a0b1c2
    """
    And append should run 3 times

  @row-57
  Scenario: The item and its place have names of their own when none are given
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-item-and-its-place-have-names-of-the
      version: '1.0.0'
    do:
      - loop:
          for:
            in: .words
          do:
            - last: { set: { item: '${ $item }', index: '${ $index }' } }
    """
    And given the workflow input is:
    """yaml
    words: [ a, b ]
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { item: b, index: 1 }
    """

  @row-57
  Scenario: The items may stand in the document
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-items-may-stand-in-the-document
      version: '1.0.0'
    do:
      - loop:
          for:
            each: colour
            in:
              - { name: red }
              - { name: '${ .second }' }
          do:
            - collect: { set: { names: '${ (.names // []) + [ $colour.name ] }' } }
    """
    And given the workflow input is:
    """yaml
    second: green
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    names: [ red, green ]
    """

  @row-57
  Scenario: A loop over nothing hands its input on
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-loop-over-nothing-hands-its-input-on
      version: '1.0.0'
    do:
      - loop:
          for: { in: .words }
          do:
            - never: { set: { n: 1 } }
    """
    And given the workflow input is:
    """yaml
    words: []
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    words: []
    """
    And never should run 0 times

  @row-58
  Scenario: A loop ends when its condition no longer holds
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-loop-ends-when-its-condition-no-longer
      version: '1.0.0'
    do:
      - loop:
          for: { each: n, in: .numbers }
          while: (.sum // 0) + $n <= 6
          do:
            - add: { set: { sum: '${ (.sum // 0) + $n }' } }
    """
    And given the workflow input is:
    """yaml
    numbers: [ 1, 2, 3, 4 ]
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    sum: 6
    """
    And add should run 3 times

  @row-59
  Scenario: Branches run at the same time, and their outputs stand in their order
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: branches-run-at-the-same-time-and-their
      version: '1.0.0'
    do:
      - both:
          fork:
            branches:
              - slow: { call: lab.hold, with: { name: conformance-fork } }
              - fast: { set: { name: fast } }
    """
    When the workflow is started
    Then the workflow should be running
    When the worker holds 'conformance-fork'
    When the worker lets 'conformance-fork' go
    Then the workflow should complete with output:
    """yaml
    [ { name: conformance-fork }, { name: fast } ]
    """

  @row-59 @trap-fork-fault
  Scenario: A branch that faults takes the others with it
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-branch-that-faults-takes-the-others-wi
      version: '1.0.0'
    do:
      - both:
          fork:
            branches:
              - held: { call: lab.hold, with: { name: conformance-never } }
              - broken:
                  raise:
                    error: { type: 'https://example.com/errors/broken', status: 500 }
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://example.com/errors/broken
    status: 500
    instance: /do/0/both/fork/branches/1/broken
    """
    And held should cancel

  @row-60
  Scenario: The first branch to complete gives the output, and the others are taken back
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-first-branch-to-complete-gives-the-o
      version: '1.0.0'
    do:
      - race:
          fork:
            compete: true
            branches:
              - held: { call: lab.hold, with: { name: conformance-never } }
              - fast: { wait: { milliseconds: 5 } }
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
    And held should cancel
    And fast should complete

  @row-60 @trap-race-fault
  Scenario: A branch that faults before any has won faults the race
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-branch-that-faults-before-any-has-won
      version: '1.0.0'
    do:
      - race:
          fork:
            compete: true
            branches:
              - held: { call: lab.hold, with: { name: conformance-never } }
              - broken:
                  raise:
                    error: { type: 'https://example.com/errors/broken', status: 500 }
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://example.com/errors/broken
    instance: /do/0/race/fork/branches/1/broken
    """

  @row-69
  Scenario: An error is raised with the place of its task
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-error-is-raised-with-the-place-of-its
      version: '1.0.0'
    do:
      - list:
          do:
            - refuse:
                raise:
                  error:
                    type: https://example.com/errors/refused
                    status: 403
                    title: '${ "No, \(.who)" }'
                    detail: ${ .why }
    """
    And given the workflow input is:
    """yaml
    { who: Ada, why: too late }
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://example.com/errors/refused
    status: 403
    title: No, Ada
    detail: too late
    instance: /do/0/list/do/0/refuse
    """
    And refuse should fault
    And list should fault

  @row-76
  Scenario: A set gives what its template says
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-set-gives-what-its-template-says
      version: '1.0.0'
    do:
      - build:
          set:
            plain: text
            number: 1.5
            list: [ '${ .n }', { deep: '${ .n + 1 }' } ]
            nothing: ${ .missing }
    """
    And given the workflow input is:
    """yaml
    n: 1
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { plain: text, number: 1.5, list: [ 1, { deep: 2 } ], nothing: null }
    """

  @row-76
  Scenario: A set may be one expression
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-set-may-be-one-expression
      version: '1.0.0'
    do:
      - build: { set: '${ .n + 1 }' }
    """
    And given the workflow input is:
    """yaml
    n: 1
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    2
    """

  @row-76
  Scenario: An empty set is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-empty-set-is-refused
      version: '1.0.0'
    do:
      - build: { set: {} }
    """
    When the workflow is executed
    Then the workflow should be refused with 'invalid-type' at '/do/0/build/set'

  @row-77
  Scenario Outline: The first case that holds decides
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-first-case-that-holds-decides
      version: '1.0.0'
    do:
      - choose:
          switch:
            - small: { when: .n < 10, then: small }
            - middle: { when: .n < 100, then: middle }
            - rest: { then: large }
      - small: { set: { size: small }, then: end }
      - middle: { set: { size: middle }, then: end }
      - large: { set: { size: large }, then: end }
    """
    And given the workflow input is:
    """yaml
    n: <n>
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    size: <size>
    """

    Examples:
      | n   | size   |
      | 5   | small  |
      | 50  | middle |
      | 500 | large  |

  @row-77
  Scenario: Without a case that holds, the directive of the switch counts, and its input goes on
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: without-a-case-that-holds-the-directive
      version: '1.0.0'
    do:
      - choose:
          switch:
            - small: { when: .n < 10, then: small }
          then: end
      - small: { set: { size: small } }
    """
    And given the workflow input is:
    """yaml
    n: 50
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: 50
    """
    And choose should run last

  @row-78
  Scenario: A list that goes well gives its output
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-list-that-goes-well-gives-its-output
      version: '1.0.0'
    do:
      - careful:
          try:
            - fine: { set: { fine: true } }
          catch:
            do:
              - never: { set: { never: true } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    fine: true
    """
    And never should run 0 times

  @row-78
  Scenario: A try without a catch is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-try-without-a-catch-is-refused
      version: '1.0.0'
    do:
      - careful:
          try:
            - fine: { set: { fine: true } }
    """
    When the workflow is executed
    Then the workflow should be refused with 'missing-key' at '/do/0/careful'

  @row-86
  Scenario: A wait takes its time and hands its input on
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-wait-takes-its-time-and-hands-its-inpu
      version: '1.0.0'
    do:
      - pause:
          wait: { milliseconds: 120 }
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
    And the workflow should take at least 120 ms
