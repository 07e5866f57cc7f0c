Feature: The document
  What a workflow says about itself, and in which language it is written.

  @row-1
  Scenario: A document has a name, a namespace and a version
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-document-has-a-name-a-namespace-and-a
      version: '1.0.0'
    do:
      - tell:
          set:
            name: ${ $workflow.definition.document.name }
            namespace: ${ $workflow.definition.document.namespace }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    name: a-document-has-a-name-a-namespace-and-a
    namespace: default
    """

  @row-1
  Scenario: A document without a version is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: no-version
    do:
      - nothing:
          set: { a: 1 }
    """
    When the workflow is executed
    Then the workflow should be refused with 'missing-key' at '/document'

  @row-1
  Scenario: A name with a dot is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: with.dot
      version: '1.0.0'
    do:
      - nothing:
          set: { a: 1 }
    """
    When the workflow is executed
    Then the workflow should be refused with 'invalid-value' at '/document/name'

  @row-1 @trap-dsl-version
  Scenario: A 1.0 document of another patch version runs
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.0'
      namespace: default
      name: older-patch
      version: '1.0.0'
    do:
      - one:
          set: { a: 1 }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    a: 1
    """

  @row-1 @trap-dsl-version
  Scenario: A document in a version of the language that there is not is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '9.9.9'
      namespace: default
      name: far-future
      version: '1.0.0'
    do:
      - one:
          set: { a: 1 }
    """
    When the workflow is executed
    Then the workflow should be refused with 'unsupported' at '/document/dsl'

  @row-2 @trap-tags
  Scenario: Title, summary and tags are taken, whatever the values of the tags are
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: title-summary-and-tags-are-taken-whateve
      version: '1.0.0'
      title: A title
      summary: A summary of more words
      tags:
        owner: finance
        level: 3
        deep: { more: true }
    do:
      - tell:
          set: ${ $workflow.definition.document.tags }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    owner: finance
    level: 3
    deep: { more: true }
    """

  @row-3
  Scenario: The metadata of a document is free
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-metadata-of-a-document-is-free
      version: '1.0.0'
      metadata:
        example.com/team: [a, b]
    do:
      - tell:
          set: ${ $workflow.definition.document.metadata }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    example.com/team: [a, b]
    """

  @row-4
  Scenario: A key of the root that the language does not know is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-key-of-the-root-that-the-language-does
      version: '1.0.0'
    do:
      - one:
          set: { a: 1 }
    timout: { after: PT1S }
    """
    When the workflow is executed
    Then the workflow should be refused with 'unknown-key' at '/timout'

  @row-4
  Scenario: A key of the root that begins with x- is free
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-key-of-the-root-that-begins-with-x-is
      version: '1.0.0'
    x-vendor:
      colour: red
    do:
      - tell:
          set: ${ $workflow.definition["x-vendor"] }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    colour: red
    """

  @row-4
  Scenario: A key of a task that the language does not know is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-key-of-a-task-that-the-language-does-n
      version: '1.0.0'
    do:
      - one:
          set: { a: 1 }
          retries: 3
    """
    When the workflow is executed
    Then the workflow should be refused with 'unknown-key' at '/do/0/one/retries'

  @row-5
  Scenario: In strict mode only what stands in braces is an expression
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: in-strict-mode-only-what-stands-in-brace
      version: '1.0.0'
    evaluate:
      language: jq
      mode: strict
    do:
      - one:
          set: { a: .x, b: '${ .x }' }
    """
    And given the workflow input is:
    """yaml
    x: 1
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { a: .x, b: 1 }
    """

  @row-5 @trap-evaluate
  Scenario: In loose mode every text is tried, and one that fails stays text
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: in-loose-mode-every-text-is-tried-and-on
      version: '1.0.0'
    evaluate:
      mode: loose
    do:
      - one:
          set: { a: .x, b: hello world, c: length, d: .x.y }
    """
    And given the workflow input is:
    """yaml
    x: 1
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { a: 1, b: hello world, c: 1, d: .x.y }
    """

  @row-5
  Scenario: Another expression language is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: another-expression-language-is-refused
      version: '1.0.0'
    evaluate:
      language: js
    do:
      - one:
          set: { a: 1 }
    """
    When the workflow is executed
    Then the workflow should be refused with 'unsupported' at '/evaluate/language'

  @row-101
  Scenario: The metadata of a task is free
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-metadata-of-a-task-is-free
      version: '1.0.0'
    do:
      - one:
          metadata:
            example.com/colour: red
            list: [1, 2]
          set: ${ $task.definition.metadata }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    example.com/colour: red
    list: [1, 2]
    """
