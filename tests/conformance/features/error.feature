Feature: Errors
  What goes wrong, who takes it, and what happens then.

  @row-79
  Scenario: An error is taken by its type and status
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-error-is-taken-by-its-type-and-status
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409 } }
          catch:
            errors:
              with: { type: 'https://example.com/errors/x', status: 409 }
            do:
              - mend: { set: { mended: true } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    mended: true
    """

  @row-79
  Scenario: An error of another status is not taken
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-error-of-another-status-is-not-taken
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409 } }
          catch:
            errors:
              with: { type: 'https://example.com/errors/x', status: 410 }
            do:
              - mend: { set: { mended: true } }
    """
    When the workflow is executed
    Then the workflow should fault
    And careful should fault

  @row-79
  Scenario: An error is taken by its title, detail and instance
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-error-is-taken-by-its-title-detail-an
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409, title: T, detail: D } }
          catch:
            errors:
              with: { title: T, detail: D, instance: /do/0/careful/try/0/fail }
            do:
              - mend: { set: { mended: true } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    mended: true
    """

  @row-79 @trap-filter-detail
  Scenario: The older spelling of the detail is taken, too
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-older-spelling-of-the-detail-is-take
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409, detail: D } }
          catch:
            errors:
              with: { details: D }
            do:
              - mend: { set: { mended: true } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    mended: true
    """

  @row-80
  Scenario: The handler sees the error under its name
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-handler-sees-the-error-under-its-nam
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409, title: T } }
          catch:
            as: problem
            do:
              - mend: { set: { title: '${ $problem.title }', status: '${ $problem.status }', at: '${ $problem.instance }' } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { title: T, status: 409, at: /do/0/careful/try/0/fail }
    """

  @row-80
  Scenario: The error is called error when no name is given
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-error-is-called-error-when-no-name-i
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409 } }
          catch:
            do:
              - mend: { set: { status: '${ $error.status }' } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    status: 409
    """

  @row-80
  Scenario Outline: A condition decides whether an error is taken
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-condition-decides-whether-an-error-is
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: <status> } }
          catch:
            when: $error.status >= 500
            exceptWhen: $error.status == 503
            do:
              - mend: { set: { mended: true } }
    """
    When the workflow is executed
    Then the workflow should <end>

    Examples:
      | status | end      |
      | 500    | complete |
      | 503    | fault    |
      | 409    | fault    |

  @row-81
  Scenario: Without a handler the input of the try goes on
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: without-a-handler-the-input-of-the-try-g
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409 } }
          catch:
            errors:
              with: { status: 409 }
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

  @row-81
  Scenario: An error of the handler is not taken by the same try
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-error-of-the-handler-is-not-taken-by
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409 } }
          catch:
            do:
              - worse:
                  raise: { error: { type: 'https://example.com/errors/worse', status: 500 } }
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://example.com/errors/worse
    instance: /do/0/careful/catch/do/0/worse
    """

  @row-81
  Scenario: After a caught error the directive of the catch counts instead of that of the try
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: after-a-caught-error-the-directive-of-th
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409 } }
          catch:
            do:
              - mend: { set: { n: 1 } }
            then: last
          then: end
      - never: { set: { n: 0 } }
      - last: { set: { n: '${ .n + 1 }' } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: 2
    """
    And never should run 0 times

  @row-81 @trap-retry-before-handler
  Scenario: The handler runs when no retry is left
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-handler-runs-when-no-retry-is-left
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409 } }
          catch:
            retry:
              delay: { milliseconds: 1 }
              limit: { attempt: { count: 3 } }
            do:
              - mend: { set: { mended: true } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    mended: true
    """
    And fail should run 3 times
    And mend should run 1 times
    And mend should run last

  @row-82
  Scenario Outline: A condition decides whether there is a retry
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-condition-decides-whether-there-is-a-r
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: <status> } }
          catch:
            retry:
              when: $error.status >= 500
              exceptWhen: $error.status == 503
              limit: { attempt: { count: 2 } }
            do:
              - mend: { set: { mended: true } }
    """
    When the workflow is executed
    Then the workflow should complete
    And fail should run <times> times

    Examples:
      | status | times |
      | 500    | 2     |
      | 503    | 1     |
      | 409    | 1     |

  @row-83 @trap-backoff
  Scenario Outline: A delay stays, grows by itself or doubles
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-delay-stays-grows-by-itself-or-doubles
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409 } }
          catch:
            retry:
              delay: { milliseconds: 50 }
              backoff: { <backoff>: {} }
              limit: { attempt: { count: 4 } }
            do:
              - mend: { set: { mended: true } }
    """
    When the workflow is executed
    Then the workflow should complete
    And fail should run 4 times
    And the workflow should take at least <ms> ms

    Examples:
      | backoff     | ms  |
      | constant    | 150 |
      | linear      | 300 |
      | exponential | 350 |

  @row-83 @trap-backoff
  Scenario: A setting of a backoff is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-setting-of-a-backoff-is-refused
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409 } }
          catch:
            retry:
              delay: PT1S
              backoff: { linear: { increment: PT1S } }
    """
    When the workflow is executed
    Then the workflow should be refused with 'unsupported' at '/do/0/careful/catch/retry/backoff/linear/increment'

  @row-84
  Scenario: Jitter adds to a delay
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: jitter-adds-to-a-delay
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409 } }
          catch:
            retry:
              delay: { milliseconds: 1 }
              jitter: { from: { milliseconds: 100 }, to: { milliseconds: 110 } }
              limit: { attempt: { count: 2 } }
            do:
              - mend: { set: { mended: true } }
    """
    When the workflow is executed
    Then the workflow should complete
    And the workflow should take at least 101 ms

  @row-85
  Scenario: The number of tries is limited
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-number-of-tries-is-limited
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409 } }
          catch:
            retry:
              limit: { attempt: { count: 1 } }
            do:
              - mend: { set: { mended: true } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    mended: true
    """
    And fail should run 1 times

  @row-85
  Scenario: The time for all tries is limited
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-time-for-all-tries-is-limited
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409 } }
          catch:
            retry:
              delay: PT1S
              limit: { duration: PT2.5S }
            do:
              - mend: { set: { mended: true } }
    """
    When the workflow is executed
    Then the workflow should complete
    And fail should run 3 times

  @row-85 @trap-attempt-duration
  Scenario: A limit to the time of an attempt is refused
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-limit-to-the-time-of-an-attempt-is-ref
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://example.com/errors/x', status: 409 } }
          catch:
            retry:
              limit: { attempt: { duration: PT1S } }
    """
    When the workflow is executed
    Then the workflow should be refused with 'unsupported' at '/do/0/careful/catch/retry/limit/attempt/duration'

  @row-89
  Scenario: An error of a worker is an error of the workflow
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-error-of-a-worker-is-an-error-of-the
      version: '1.0.0'
    do:
      - ask:
          call: lab.fail
          with: { type: 'https://example.com/errors/broken', status: 422, title: broken }
    """
    When the workflow is executed
    Then the workflow should fault with error:
    """yaml
    type: https://example.com/errors/broken
    status: 422
    title: broken
    instance: /do/0/ask
    """

  @row-89
  Scenario: An error needs a type and a status
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-error-needs-a-type-and-a-status
      version: '1.0.0'
    do:
      - fail:
          raise: { error: { type: 'https://example.com/errors/x' } }
    """
    When the workflow is executed
    Then the workflow should be refused with 'missing-key' at '/do/0/fail/raise/error'

  @row-90 @trap-error-uris
  Scenario Outline: A standard error is taken under both of its URIs
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-standard-error-is-taken-under-both-of
      version: '1.0.0'
    do:
      - careful:
          try:
            - slow:
                wait: PT1H
                timeout: { after: { milliseconds: 20 } }
          catch:
            errors:
              with:
                type: <base>timeout
            do:
              - tell: { set: { type: '${ $error.type }', status: '${ $error.status }' } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    { type: "https://open-workflow-specification.org/dsl/errors/types/timeout", status: 408 }
    """

    Examples:
      | base                                                      |
      | https://open-workflow-specification.org/dsl/errors/types/ |
      | https://serverlessworkflow.io/spec/1.0.0/errors/          |

  @row-90 @trap-error-uris
  Scenario: A standard error that is raised under its older URI is taken under the newer
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-standard-error-that-is-raised-under-it
      version: '1.0.0'
    do:
      - careful:
          try:
            - fail:
                raise: { error: { type: 'https://serverlessworkflow.io/spec/1.0.0/errors/communication', status: 503 } }
          catch:
            errors:
              with:
                type: https://open-workflow-specification.org/dsl/errors/types/communication
            do:
              - tell: { set: { status: '${ $error.status }' } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    status: 503
    """

  @row-90 @trap-error-uris
  Scenario Outline: A standard error is taken under the URIs of the text of the specification, too
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-standard-error-is-taken-under-the-uris
      version: '1.0.0'
    do:
      - careful:
          try:
            - slow:
                wait: PT1H
                timeout: { after: { milliseconds: 20 } }
          catch:
            errors:
              with:
                type: <base>timeout
            do:
              - tell: { set: { status: '${ $error.status }' } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    status: 408
    """

    Examples:
      | base                                                       |
      | https://open-workflow-specification.org/spec/1.0.0/errors/ |
      | https://serverlessworkflow.io/dsl/errors/types/            |

  @row-90
  Scenario: Standard errors have their own status
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: standard-errors-have-their-own-status
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
    """
