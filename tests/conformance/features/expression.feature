Feature: Expressions
  What an expression may be, and what it sees.

  @row-37
  Scenario: An expression stands in braces, and in its own places without them
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-expression-stands-in-braces-and-in-it
      version: '1.0.0'
    do:
      - both:
          if: .n > 1
          set: { doubled: '${ .n * 2 }', text: '${ "n is \(.n)" }' }
          output:
            as: '${ . + { more: true } }'
    """
    And given the workflow input is:
    """yaml
    n: 3
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { doubled: 6, text: n is 3, more: true }
    """

  @row-37
  Scenario: An expression that fails is an expression error
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-expression-that-fails-is-an-expressio
      version: '1.0.0'
    do:
      - broken:
          set: { n: '${ .text + 1 }' }
    """
    And given the workflow input is:
    """yaml
    text: a
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://open-workflow-specification.org/dsl/errors/types/expression
    status: 400
    instance: /do/0/broken
    """

  @row-37 @trap-multi-line
  Scenario: An expression may have several lines
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-expression-may-have-several-lines
      version: '1.0.0'
    do:
      - many:
          set:
            total: |
              ${
                .lines
                | map(.amount)
                | add
              }
    """
    And given the workflow input is:
    """yaml
    lines: [ { amount: 3 }, { amount: 4 } ]
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    total: 7
    """

  @row-37 @trap-partial-expression
  Scenario: Braces in the middle of a text are data, and warned of
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: braces-in-the-middle-of-a-text-are-data
      version: '1.0.0'
    do:
      - part:
          set: { text: 'Hello ${ .name }' }
    """
    And given the workflow input is:
    """yaml
    name: Ada
    """
    When the workflow is executed
    Then the author should be warned of 'partial-expression' at '/do/0/part/set/text'
    And the workflow should complete with output:
    """yaml
    text: 'Hello ${ .name }'
    """

  @row-37 @trap-jq-ends
  Scenario: An expression that may not end is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-expression-that-may-not-end-is-refuse
      version: '1.0.0'
    do:
      - spin:
          set: { n: '${ reduce .lines[] as $x (0; . + $x) }' }
    """
    When the workflow is executed
    Then the workflow should be refused with 'expression-unsupported' at '/do/0/spin/set/n'

  @row-38
  Scenario: The input, the output and the context are there where they are known
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-input-the-output-and-the-context-are
      version: '1.0.0'
    do:
      - first:
          input:
            from: '{ n: .n }'
          set: { doubled: '${ $input.n * 2 }' }
          output:
            as: '{ doubled, was: $input.n }'
          export:
            as: '{ seen: $output.doubled, of: $input.n }'
      - second: { set: '${ $context + . }' }
    """
    And given the workflow input is:
    """yaml
    n: 3
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { seen: 6, of: 3, doubled: 6, was: 3 }
    """

  @row-40
  Scenario: The workflow tells of itself
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-workflow-tells-of-itself
      version: '1.0.0'
    do:
      - tell:
          set:
            hasId: '${ $workflow.id | test("^[0-9a-f]{8}-[0-9a-f-]{27}$") }'
            name: ${ $workflow.definition.document.name }
            input: ${ $workflow.input }
            hasTime: '${ $workflow.startedAt.iso8601 | test("^20[0-9-]+T[0-9:.]+Z$") }'
            agrees: '${ ($workflow.startedAt.epoch.milliseconds / 1000 | floor) == $workflow.startedAt.epoch.seconds }'
    """
    And given the workflow input is:
    """yaml
    n: 1
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    hasId: true
    name: the-workflow-tells-of-itself
    input: { n: 1 }
    hasTime: true
    agrees: true
    """

  @row-41
  Scenario: The task tells of itself
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-task-tells-of-itself
      version: '1.0.0'
    do:
      - outer:
          do:
            - inner:
                input:
                  from: .n
                set:
                  name: ${ $task.name }
                  reference: ${ $task.reference }
                  raw: ${ $task.input }
                  kind: ${ $task.definition | keys }
                  hasTime: ${ $task.startedAt.epoch.seconds > 1700000000 }
                output:
                  as: '. + { rawOutput: $task.output.name }'
    """
    And given the workflow input is:
    """yaml
    n: 1
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    name: inner
    reference: /do/0/outer/do/0/inner
    raw: { n: 1 }
    kind: [ input, output, set ]
    hasTime: true
    rawOutput: inner
    """

  @row-42
  Scenario: The runtime tells of itself
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-runtime-tells-of-itself
      version: '1.0.0'
    do:
      - tell:
          set:
            name: ${ $runtime.name }
            hasVersion: '${ $runtime.version | test("^[0-9]+[.]") }'
            metadata: ${ $runtime.metadata }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { name: baton, hasVersion: true, metadata: {} }
    """

  @row-43
  Scenario: The authorization is not shown to expressions
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-authorization-is-not-shown-to-expres
      version: '1.0.0'
    do:
      - tell:
          set: { scheme: '${ $authorization.scheme }' }
    """
    When the workflow is executed
    Then the workflow should be refused with 'expression-unsupported' at '/do/0/tell/set/scheme'

  @row-44
  Scenario: Data that looks like an expression stays data
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: data-that-looks-like-an-expression-stays
      version: '1.0.0'
    do:
      - first: { set: { text: '${ .text }' } }
      - second: { call: lab.echo, with: { text: '${ .text }' } }
      - third: { set: '${ . }' }
    """
    And given the workflow input is:
    """yaml
    text: '${ 1 + 1 }'
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    text: '${ 1 + 1 }'
    """

  @row-45
  Scenario: A URI template takes names of the input
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-uri-template-takes-names-of-the-input
      version: '1.0.0'
    do:
      - get:
          call: http
          with:
            method: get
            endpoint: https://httpbin.org/anything/{id}/{missing}
          output:
            as: .path
    """
    And given the workflow input is:
    """yaml
    id: a b
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    /anything/a%20b/
    """

  @row-45
  Scenario: A value that is no scalar is an expression error in a URI template
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-value-that-is-no-scalar-is-an-expressi
      version: '1.0.0'
    do:
      - get:
          call: http
          with:
            method: get
            endpoint: https://httpbin.org/anything/{id}
    """
    And given the workflow input is:
    """yaml
    id: { a: 1 }
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://open-workflow-specification.org/dsl/errors/types/expression
    status: 400
    instance: /do/0/get
    """
