Feature: Calls
  Work for others: each call is a step for a worker of the document's department.

  @row-46
  Scenario: A request carries method, headers, query and body
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-request-carries-method-headers-query-a
      version: '1.0.0'
    do:
      - post:
          call: http
          with:
            method: post
            endpoint: https://httpbin.org/anything/orders
            headers:
              X-Order: ${ .order }
            query:
              page: 2
            body:
              order: ${ .order }
          output:
            as: '{ method, path, query, body, header: .headers["x-order"] }'
    """
    And given the workflow input is:
    """yaml
    order: A-7
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    method: POST
    path: /anything/orders
    query: { page: '2' }
    body: { order: A-7 }
    header: A-7
    """

  @row-46
  Scenario: The raw output of a request is base64
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-raw-output-of-a-request-is-base64
      version: '1.0.0'
    do:
      - get:
          call: http
          with:
            method: get
            endpoint: https://httpbin.org/text
            output: raw
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    cGxhaW4gdGV4dA==
    """

  @row-46
  Scenario: A status outside of the 200s is a communication error with that status
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-status-outside-of-the-200s-is-a-commun
      version: '1.0.0'
    do:
      - get:
          call: http
          with:
            method: get
            endpoint: https://httpbin.org/status/404
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://open-workflow-specification.org/dsl/errors/types/communication
    status: 404
    instance: /do/0/get
    """

  @row-46
  Scenario: A redirection is an error unless it is asked for
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-redirection-is-an-error-unless-it-is-a
      version: '1.0.0'
    do:
      - careful:
          try:
            - get:
                call: http
                with:
                  method: get
                  endpoint: https://httpbin.org/status/304
          catch:
            errors:
              with:
                status: 304
      - get:
          call: http
          with:
            method: get
            endpoint: https://httpbin.org/status/304
            redirect: true
            output: response
          output:
            as: .statusCode
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    304
    """

  @row-47
  Scenario: An operation is called by its description
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-operation-is-called-by-its-descriptio
      version: '1.0.0'
    do:
      - find:
          call: openapi
          with:
            document:
              endpoint: https://petstore.swagger.io/v2/swagger.json
            operationId: findPetsByStatus
            parameters:
              status: ${ .status }
          output:
            as: .[0].status
    """
    And given the workflow input is:
    """yaml
    status: sold
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    sold
    """
    And find should ask 'default.openapi' for:
    """yaml
    document: { endpoint: { uri: 'https://petstore.swagger.io/v2/swagger.json' } }
    operationId: findPetsByStatus
    parameters: { status: sold }
    """

  @row-48
  Scenario: A remote procedure is a step of the department
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-remote-procedure-is-a-step-of-the-depa
      version: '1.0.0'
    do:
      - greet:
          call: grpc
          with:
            proto:
              endpoint: https://example.com/greet.proto
            service:
              name: Greeter
              host: localhost
              port: 5011
            method: greet
            arguments:
              name: ${ .name }
    """
    And given the workflow input is:
    """yaml
    name: Ada
    """
    When the workflow is started
    Then the workflow should be running
    And greet should ask 'default.grpc' for:
    """yaml
    proto: { endpoint: { uri: 'https://example.com/greet.proto' } }
    service: { name: Greeter, host: localhost, port: 5011 }
    method: greet
    arguments: { name: Ada }
    """

  @row-49
  Scenario: A message to publish is a step of the department
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-message-to-publish-is-a-step-of-the-de
      version: '1.0.0'
    do:
      - greet:
          call: asyncapi
          with:
            document:
              endpoint: https://example.com/asyncapi.json
            operation: greet
            protocol: nats
            message:
              payload: { greeting: '${ .greeting }' }
              headers: { trace: a }
    """
    And given the workflow input is:
    """yaml
    greeting: hello
    """
    When the workflow is started
    Then the workflow should be running
    And greet should ask 'default.asyncapi' for:
    """yaml
    document: { endpoint: { uri: 'https://example.com/asyncapi.json' } }
    operation: greet
    protocol: nats
    message:
      payload: { greeting: hello }
      headers: { trace: a }
    """

  @row-50
  Scenario: A subscription is a step of the department
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-subscription-is-a-step-of-the-departme
      version: '1.0.0'
    do:
      - inbox:
          call: asyncapi
          with:
            document:
              endpoint: https://example.com/asyncapi.json
            operation: inbox
            subscription:
              consume:
                amount: 2
    """
    When the workflow is started
    Then the workflow should be running
    And inbox should ask 'default.asyncapi' for:
    """yaml
    document: { endpoint: { uri: 'https://example.com/asyncapi.json' } }
    operation: inbox
    subscription: { consume: { amount: 2 } }
    """

  @row-51
  Scenario: A message to an agent is a step of the department
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-message-to-an-agent-is-a-step-of-the-d
      version: '1.0.0'
    do:
      - ask:
          call: a2a
          with:
            method: message/send
            server: https://example.com/agent
            parameters:
              message:
                parts: [ { kind: text, text: '${ .question }' } ]
    """
    And given the workflow input is:
    """yaml
    question: why
    """
    When the workflow is started
    Then the workflow should be running
    And ask should ask 'default.a2a' for:
    """yaml
    method: message/send
    server: { uri: 'https://example.com/agent' }
    parameters: { message: { parts: [ { kind: text, text: why } ] } }
    """

  @row-52 @trap-mcp
  Scenario: A call of the model context protocol is a step of the department
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-call-of-the-model-context-protocol-is
      version: '1.0.0'
    do:
      - list:
          call: mcp
          with:
            method: tools/call
            parameters:
              name: search
              arguments: { words: '${ .words }' }
            transport:
              http:
                endpoint: https://example.com/mcp
    """
    And given the workflow input is:
    """yaml
    words: pets
    """
    When the workflow is started
    Then the workflow should be running
    And list should ask 'default.mcp' for:
    """yaml
    method: tools/call
    parameters: { name: search, arguments: { words: pets } }
    transport: { http: { endpoint: { uri: 'https://example.com/mcp' } } }
    """

  @row-53
  Scenario: A function of a department is called by its name
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-function-of-a-department-is-called-by
      version: '1.0.0'
    do:
      - ask:
          call: lab.echo
          with: { name: '${ .who }', list: [ 1, '${ .who }' ] }
    """
    And given the workflow input is:
    """yaml
    who: Ada
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { name: Ada, list: [ 1, Ada ] }
    """
    And ask should ask 'lab.echo' for:
    """yaml
    { name: Ada, list: [ 1, Ada ] }
    """

  @row-53
  Scenario: Without arguments the worker gets the input of the task
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: without-arguments-the-worker-gets-the-in
      version: '1.0.0'
    do:
      - ask:
          call: lab.echo
    """
    And given the workflow input is:
    """yaml
    who: Ada
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    who: Ada
    """

  @row-53
  Scenario: A worker that fails and may be tried again is asked again
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-worker-that-fails-and-may-be-tried-aga
      version: '1.0.0'
    do:
      - ask:
          call: lab.flaky
          with: { failures: 1 }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    attempt: 2
    """
    And ask should have 2 attempts

  @row-53 @trap-call-name
  Scenario: A call without a name is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-call-without-a-name-is-refused
      version: '1.0.0'
    do:
      - ask: { call: '' }
    """
    When the workflow is executed
    Then the workflow should be refused with 'invalid-value' at '/do/0/ask/call'

  @row-53 @trap-call-name
  Scenario: The names of the protocols are written in small letters, and others are functions
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-names-of-the-protocols-are-written-i
      version: '1.0.0'
    do:
      - ask:
          call: HTTP
          with: { a: 1 }
    """
    When the workflow is started
    Then the workflow should be running
    And ask should ask 'default.HTTP' for:
    """yaml
    a: 1
    """

  @row-53
  Scenario: Arguments that are no object are refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: arguments-that-are-no-object-are-refused
      version: '1.0.0'
    do:
      - ask: { call: lab.echo, with: text }
    """
    When the workflow is executed
    Then the workflow should be refused with 'invalid-type' at '/do/0/ask/with'

  @row-54
  Scenario: A function by its URL is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-function-by-its-url-is-refused
      version: '1.0.0'
    do:
      - ask:
          call: https://example.com/functions/validate@1.0.0
          with: { a: 1 }
    """
    When the workflow is executed
    Then the workflow should be refused with 'unsupported' at '/do/0/ask/call'

  @row-54
  Scenario: A function of the catalog may call others of the catalog
    Given a function 'half:1.0.0' of the default catalog:
    """yaml
    set: { n: '${ .n / 2 }' }
    """
    And a function 'quarter:1.0.0' of the default catalog:
    """yaml
    do:
      - once: { call: 'half:1.0.0@default', with: { n: '${ .n }' } }
      - twice: { call: 'half:1.0.0@default', with: { n: '${ .n }' } }
    """
    And a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-function-of-the-catalog-may-call-others
      version: '1.0.0'
    do:
      - share: { call: 'quarter:1.0.0@default', with: { n: 8 } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: 2
    """

  @row-100
  Scenario: An endpoint is a text, an expression or an object
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-endpoint-is-a-text-an-expression-or-a
      version: '1.0.0'
    do:
      - plain:
          call: http
          with:
            method: get
            endpoint: https://httpbin.org/anything/plain
          output: { as: .path }
          export: { as: '[ . ]' }
      - computed:
          call: http
          with:
            method: get
            endpoint: ${ "https://httpbin.org/anything/" + $workflow.input.id }
          output: { as: .path }
          export: { as: '$context + [ . ]' }
      - object:
          call: http
          with:
            method: get
            endpoint:
              uri: https://httpbin.org/anything/object
          output: { as: '$context + [ .path ]' }
    """
    And given the workflow input is:
    """yaml
    id: computed
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    [ /anything/plain, /anything/computed, /anything/object ]
    """
