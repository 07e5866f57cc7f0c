Feature: Data flow
  From raw input to output.

  @row-28 @trap-input-invalid
  Scenario: An input that does not fit starts no instance
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-input-that-does-not-fit-starts-no-ins
      version: '1.0.0'
    input:
      schema:
        document:
          type: object
          required: [ order ]
    do:
      - one: { set: { n: 1 } }
    """
    And given the workflow input is:
    """yaml
    other: 1
    """
    When the workflow is executed
    Then the start should be refused with 'invalid-input'

  @row-28
  Scenario: An input that fits is taken
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-input-that-fits-is-taken
      version: '1.0.0'
    input:
      schema:
        format: json
        document:
          type: object
          required: [ order ]
    do:
      - one: { set: { n: '${ .order }' } }
    """
    And given the workflow input is:
    """yaml
    order: 7
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: 7
    """

  @row-29 @trap-input-from
  Scenario: What the workflow makes of its input goes to the first task, and the context begins empty
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: what-the-workflow-makes-of-its-input-goe
      version: '1.0.0'
    input:
      from: '{ number: .order.number }'
    do:
      - one:
          set:
            raw: ${ . }
            input: ${ $input }
            context: ${ $context }
            whole: ${ $workflow.input }
    """
    And given the workflow input is:
    """yaml
    order: { number: 7 }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    raw: { number: 7 }
    input: { number: 7 }
    context: {}
    whole: { order: { number: 7 } }
    """

  @row-30
  Scenario: A raw input that does not fit faults its task
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-raw-input-that-does-not-fit-faults-its
      version: '1.0.0'
    do:
      - strict:
          input:
            schema:
              document: { type: object, required: [ order ] }
            from: .order
          set: { n: 1 }
    """
    And given the workflow input is:
    """yaml
    other: 1
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://open-workflow-specification.org/dsl/errors/types/validation
    status: 400
    instance: /do/0/strict
    """

  @row-30
  Scenario: The schema of an input is not looked at when the task is skipped
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-schema-of-an-input-is-not-looked-at
      version: '1.0.0'
    do:
      - strict:
          if: .order != null
          input:
            schema:
              document: { type: object, required: [ order ] }
          set: { n: 1 }
    """
    And given the workflow input is:
    """yaml
    other: 1
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    other: 1
    """

  @row-31
  Scenario: A task takes a part of its input
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-task-takes-a-part-of-its-input
      version: '1.0.0'
    do:
      - part:
          input:
            from: .order
          set: { same: '${ . == $input }', number: '${ $input.number }' }
    """
    And given the workflow input is:
    """yaml
    order: { number: 7 }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { same: true, number: 7 }
    """

  @row-31
  Scenario: The input of a task may be put together from a template
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-input-of-a-task-may-be-put-together
      version: '1.0.0'
    do:
      - part:
          input:
            from: { number: '${ .order.number }', kind: order }
          set: '${ . }'
    """
    And given the workflow input is:
    """yaml
    order: { number: 7 }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { number: 7, kind: order }
    """

  @row-32
  Scenario: A task gives a part of its output
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-task-gives-a-part-of-its-output
      version: '1.0.0'
    do:
      - part:
          call: lab.echo
          with: { number: 7, other: 8 }
          output:
            as: .number
      - next: { set: { got: '${ . }' } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    got: 7
    """

  @row-33
  Scenario: An output that does not fit faults its task
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-output-that-does-not-fit-faults-its-t
      version: '1.0.0'
    do:
      - strict:
          set: { number: seven }
          output:
            as: .number
            schema:
              document: { type: number }
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://open-workflow-specification.org/dsl/errors/types/validation
    status: 400
    instance: /do/0/strict
    """

  @row-34
  Scenario: An export replaces the context, and without one it stays
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-export-replaces-the-context-and-witho
      version: '1.0.0'
    do:
      - first:
          set: { n: 1 }
          export:
            as: '{ first: .n }'
      - second:
          set: { n: 2 }
      - third:
          set: { n: 3 }
          export:
            as: '$context + { third: .n }'
      - tell: { set: '${ $context }' }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { first: 1, third: 3 }
    """

  @row-34
  Scenario: A context that does not fit faults its task
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-context-that-does-not-fit-faults-its-t
      version: '1.0.0'
    do:
      - strict:
          set: { n: one }
          export:
            as: .n
            schema:
              document: { type: number }
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://open-workflow-specification.org/dsl/errors/types/validation
    status: 400
    instance: /do/0/strict
    """

  @row-35
  Scenario: The output of the workflow is made of the last output
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-output-of-the-workflow-is-made-of-th
      version: '1.0.0'
    do:
      - last: { set: { n: 7, other: 8 } }
    output:
      as: '{ number: .n, from: $workflow.input.who }'
      schema:
        document: { type: object, required: [ number ] }
    """
    And given the workflow input is:
    """yaml
    who: Ada
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { number: 7, from: Ada }
    """

  @row-35
  Scenario: An output of the workflow that does not fit faults it
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-output-of-the-workflow-that-does-not
      version: '1.0.0'
    do:
      - last: { set: { n: 7 } }
    output:
      schema:
        document: { type: string }
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://open-workflow-specification.org/dsl/errors/types/validation
    status: 400
    """

  @row-36
  Scenario: A schema stands in the document
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-schema-stands-in-the-document
      version: '1.0.0'
    do:
      - strict:
          input:
            schema:
              format: json:draft-2020-12
              document:
                $ref: '#/$defs/order'
                $defs:
                  order: { type: object, required: [ n ] }
          set: { n: '${ .n }' }
    """
    And given the workflow input is:
    """yaml
    n: 7
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: 7
    """

  @row-36
  Scenario: A schema that would have to be fetched is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-schema-that-would-have-to-be-fetched-i
      version: '1.0.0'
    do:
      - strict:
          input:
            schema:
              resource:
                endpoint: https://example.com/order.json
          set: { n: 1 }
    """
    When the workflow is executed
    Then the workflow should be refused with 'unsupported' at '/do/0/strict/input/schema/resource'

  @row-36
  Scenario: A schema of another format is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-schema-of-another-format-is-refused
      version: '1.0.0'
    do:
      - strict:
          input:
            schema:
              format: avro
              document: {}
          set: { n: 1 }
    """
    When the workflow is executed
    Then the workflow should be refused with 'unsupported' at '/do/0/strict/input/schema/format'
