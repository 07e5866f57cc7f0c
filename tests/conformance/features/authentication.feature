Feature: Authentication
  Policies go to the worker, which applies them.

  @row-96
  Scenario: A name and a password are sent
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-name-and-a-password-are-sent
      version: '1.0.0'
    do:
      - get:
          call: http
          with:
            method: get
            endpoint:
              uri: https://httpbin.org/basic-auth/ada/secret
              authentication:
                basic:
                  username: ${ .name }
                  password: secret
    """
    And given the workflow input is:
    """yaml
    name: ada
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { authenticated: true, user: ada }
    """

  @row-96
  Scenario: A wrong password is an error with status 401
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-wrong-password-is-an-error-with-status
      version: '1.0.0'
    do:
      - get:
          call: http
          with:
            method: get
            endpoint:
              uri: https://httpbin.org/basic-auth/ada/secret
              authentication:
                basic:
                  username: ada
                  password: wrong
    """
    When the workflow is executed
    Then the workflow should fault
    And get should fault with error:
    """yaml
    status: 401
    """

  @row-96
  Scenario: A bearer token is sent
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-bearer-token-is-sent
      version: '1.0.0'
    do:
      - get:
          call: http
          with:
            method: get
            endpoint:
              uri: https://httpbin.org/anything
              authentication:
                bearer:
                  token: ${ .token }
          output:
            as: .headers.authorization
    """
    And given the workflow input is:
    """yaml
    token: abc
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    Bearer abc
    """

  @row-96
  Scenario: A digest policy goes to the worker
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-digest-policy-goes-to-the-worker
      version: '1.0.0'
    do:
      - get:
          call: http
          with:
            method: get
            endpoint:
              uri: https://nobody.example.com/
              authentication:
                digest:
                  username: ${ .name }
                  password: secret
    """
    And given the workflow input is:
    """yaml
    name: ada
    """
    When the workflow is started
    Then get should ask 'default.http' for:
    """yaml
    method: get
    endpoint:
      uri: https://nobody.example.com/
      authentication:
        digest:
          username: ada
          password: secret
    """

  @row-96
  Scenario: The secret that holds a policy goes by its name
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-secret-that-holds-a-policy-goes-by-i
      version: '1.0.0'
    use:
      secrets: [ pets ]
    do:
      - get:
          call: http
          with:
            method: get
            endpoint:
              uri: https://nobody.example.com/
              authentication:
                basic:
                  use: pets
    """
    When the workflow is started
    Then get should ask 'default.http' for:
    """yaml
    method: get
    endpoint:
      uri: https://nobody.example.com/
      authentication:
        basic:
          use: pets
    """

  @row-97
  Scenario: An oauth2 policy goes to the worker
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-oauth2-policy-goes-to-the-worker
      version: '1.0.0'
    do:
      - get:
          call: http
          with:
            method: get
            endpoint:
              uri: https://nobody.example.com/
              authentication:
                oauth2:
                  authority: https://login.example.com
                  grant: client_credentials
                  client: { id: workflow, secret: hidden }
                  scopes: [ api ]
                  audiences: [ runtime ]
    """
    And given the workflow input is:
    """yaml
    name: ada
    """
    When the workflow is started
    Then get should ask 'default.http' for:
    """yaml
    method: get
    endpoint:
      uri: https://nobody.example.com/
      authentication:
        oauth2:
          authority: https://login.example.com
          grant: client_credentials
          client: { id: workflow, secret: hidden }
          scopes: [ api ]
          audiences: [ runtime ]
    """

  @row-98
  Scenario: An oidc policy goes to the worker
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-oidc-policy-goes-to-the-worker
      version: '1.0.0'
    do:
      - get:
          call: http
          with:
            method: get
            endpoint:
              uri: https://nobody.example.com/
              authentication:
                oidc:
                  authority: https://login.example.com
                  grant: client_credentials
                  client: { id: workflow, secret: hidden }
    """
    And given the workflow input is:
    """yaml
    name: ada
    """
    When the workflow is started
    Then get should ask 'default.http' for:
    """yaml
    method: get
    endpoint:
      uri: https://nobody.example.com/
      authentication:
        oidc:
          authority: https://login.example.com
          grant: client_credentials
          client: { id: workflow, secret: hidden }
    """
