Feature: Reusable parts
  What `use` defines once, for many tasks.

  @row-7
  Scenario: A named error is raised
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-named-error-is-raised
      version: '1.0.0'
    use:
      errors:
        outOfStock:
          type: https://example.com/errors/out-of-stock
          status: 409
          title: Out of stock
          detail: '${ "no \(.article) left" }'
    do:
      - refuse:
          raise:
            error: outOfStock
    """
    And given the workflow input is:
    """yaml
    article: lamp
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://example.com/errors/out-of-stock
    status: 409
    title: Out of stock
    detail: no lamp left
    instance: /do/0/refuse
    """

  @row-7
  Scenario: A name that no error has is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-name-that-no-error-has-is-refused
      version: '1.0.0'
    do:
      - refuse:
          raise:
            error: outOfStock
    """
    When the workflow is executed
    Then the workflow should be refused with 'unknown-name' at '/do/0/refuse/raise/error'

  @row-8
  Scenario: A named function is called with arguments
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-named-function-is-called-with-argument
      version: '1.0.0'
    use:
      functions:
        greet:
          set:
            greeting: '${ "Hello \(.name)" }'
    do:
      - first:
          call: greet
          with:
            name: ${ .who }
    """
    And given the workflow input is:
    """yaml
    who: Ada
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    greeting: Hello Ada
    """

  @row-8
  Scenario: A named function may be any task, and call others
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-named-function-may-be-any-task-and-cal
      version: '1.0.0'
    use:
      functions:
        double:
          set: { n: '${ .n * 2 }' }
        fourfold:
          do:
            - once: { call: double }
            - twice: { call: double }
    do:
      - go:
          call: fourfold
          with: { n: '${ .n }' }
    """
    And given the workflow input is:
    """yaml
    n: 3
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: 12
    """

  @row-9
  Scenario: A named retry policy is used
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-named-retry-policy-is-used
      version: '1.0.0'
    use:
      retries:
        twice:
          delay: { milliseconds: 1 }
          limit:
            attempt:
              count: 2
    do:
      - risky:
          try:
            - fail:
                raise:
                  error: { type: 'https://example.com/errors/broken', status: 500 }
          catch:
            retry: twice
            do:
              - giveUp:
                  set: { gave: up }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    gave: up
    """
    And fail should run 2 times

  @row-10
  Scenario: A named timeout is used
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-named-timeout-is-used
      version: '1.0.0'
    use:
      timeouts:
        short:
          after: { milliseconds: 50 }
    do:
      - slow:
          timeout: short
          wait: PT1H
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://open-workflow-specification.org/dsl/errors/types/timeout
    status: 408
    instance: /do/0/slow
    """

  @row-6 @row-99
  Scenario: A named authentication policy goes to the worker in full
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-named-authentication-policy-goes-to-th
      version: '1.0.0'
    use:
      authentications:
        pets:
          basic:
            username: ada
            password: secret
    do:
      - get:
          call: http
          with:
            method: get
            endpoint:
              uri: https://httpbin.org/basic-auth/ada/secret
              authentication:
                use: pets
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { authenticated: true, user: ada }
    """
    And get should ask 'default.http' for:
    """yaml
    method: get
    endpoint:
      uri: https://httpbin.org/basic-auth/ada/secret
      authentication:
        basic:
          username: ada
          password: secret
    """

  @row-11 @row-39
  Scenario: A secret that the worker does not have is an authorization error
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-secret-that-the-worker-does-not-have-i
      version: '1.0.0'
    use:
      secrets: [ conformanceNobodyHasThis ]
    do:
      - send:
          call: lab.echo
          with:
            key: ${ $secrets.conformanceNobodyHasThis }
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://open-workflow-specification.org/dsl/errors/types/authorization
    status: 403
    instance: /do/0/send
    """

  @row-39 @trap-secrets-where
  Scenario: A secret anywhere but in the arguments of a step is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-secret-anywhere-but-in-the-arguments-o
      version: '1.0.0'
    use:
      secrets: [ apiKey ]
    do:
      - leak:
          set:
            key: ${ $secrets.apiKey }
    """
    When the workflow is executed
    Then the workflow should be refused with 'expression-unsupported' at '/do/0/leak/set/key'

  @row-12
  Scenario: A catalog is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-catalog-is-refused
      version: '1.0.0'
    use:
      catalogs:
        global:
          endpoint: https://example.com/catalog
    do:
      - log:
          call: log:0.5.2@global
          with: { message: hello }
    """
    When the workflow is executed
    Then the workflow should be refused with 'unsupported' at '/use/catalogs'

  @row-12 @row-13
  Scenario: A function of the default catalog is called with its arguments as its input
    Given a function 'greet:1.0.0' of the default catalog:
    """yaml
    input:
      schema:
        document: { type: object, required: [ name ] }
    set:
      text: '${ "hello " + .name }'
    """
    And a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-function-of-the-default-catalog
      version: '1.0.0'
    do:
      - greet:
          call: greet:1.0.0@default
          with: { name: you }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    text: hello you
    """

  @row-13
  Scenario: A function that the default catalog does not have is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-function-that-the-catalog-does-not-have
      version: '1.0.0'
    do:
      - log:
          call: log:0.5.2@default
          with: { message: hello }
    """
    When the workflow is executed
    Then the workflow should be refused with 'unresolved-function' at '/do/0/log/call'
