Feature: Run
  Processes and other workflows.

  @row-70
  Scenario: A container is a step of the department
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-container-is-a-step-of-the-department
      version: '1.0.0'
    do:
      - work:
          run:
            container:
              image: alpine
              command: cat
              stdin: ${ .text }
              environment: { COLOUR: red }
              lifetime: { cleanup: always }
    """
    And given the workflow input is:
    """yaml
    text: hello
    """
    When the workflow is started
    Then the workflow should be running
    And work should ask 'default.container' for:
    """yaml
    image: alpine
    command: cat
    stdin: hello
    environment: { COLOUR: red }
    lifetime: { cleanup: always }
    """

  @row-71
  Scenario: A script is a step of the department
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-script-is-a-step-of-the-department
      version: '1.0.0'
    do:
      - work:
          run:
            script:
              language: python
              source:
                endpoint: https://example.com/script.py
              arguments: [ '${ .text }' ]
    """
    And given the workflow input is:
    """yaml
    text: hello
    """
    When the workflow is started
    Then the workflow should be running
    And work should ask 'default.script' for:
    """yaml
    language: python
    source: { endpoint: { uri: 'https://example.com/script.py' } }
    arguments: [ hello ]
    """

  @row-72 @row-75
  Scenario: A command is a step of the department
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-command-is-a-step-of-the-department
      version: '1.0.0'
    do:
      - work:
          run:
            shell:
              command: wc
              stdin: ${ .text }
              arguments: [ -c ]
            return: all
    """
    And given the workflow input is:
    """yaml
    text: hello
    """
    When the workflow is started
    Then the workflow should be running
    And work should ask 'default.shell' for:
    """yaml
    command: wc
    stdin: hello
    arguments: [ -c ]
    return: all
    """

  @row-74 @trap-await-place
  Scenario: Whether to wait is said under run
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: whether-to-wait-is-said-under-run
      version: '1.0.0'
    do:
      - work:
          run:
            shell:
              command: sleep
            await: false
    """
    When the workflow is started
    Then the workflow should be running
    And work should ask 'default.shell' for:
    """yaml
    { command: sleep, await: false }
    """

  @row-73
  Scenario: Another workflow is run with an input, and gives its output
    Given another workflow is deployed:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: conformance-inner
      version: '1.0.0'
    do:
      - add: { set: { n: '${ .n + 1 }' } }
    """
    And a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: another-workflow-is-run-with-an-input-an
      version: '1.0.0'
    do:
      - work:
          run:
            workflow:
              namespace: default
              name: conformance-inner
              version: '1.0.0'
              input: { n: '${ .n }' }
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

  @row-73 @trap-subflow-version
  Scenario: A workflow to run must name its version
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-workflow-to-run-must-name-its-version
      version: '1.0.0'
    do:
      - work:
          run:
            workflow:
              namespace: default
              name: conformance-inner
    """
    When the workflow is executed
    Then the workflow should be refused with 'missing-key' at '/do/0/work/run/workflow'
