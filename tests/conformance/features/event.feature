Feature: Events
  Events that workflows publish and wait for.

  @row-56
  Scenario: An event is published, and is the output
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-event-is-published-and-is-the-output
      version: '1.0.0'
    do:
      - tell:
          emit:
            event:
              with:
                source: https://example.com/conformance
                type: com.example.conformance.told.v1
                subject: ${ .order }
                data: { order: '${ .order }' }
    """
    And given the workflow input is:
    """yaml
    order: A-7
    """
    When the workflow is executed
    Then the workflow output should have properties 'id', 'time', 'specversion'
    And the workflow output should have a 'data' property with value:
    """yaml
    order: A-7
    """
    And the workflow output should have a 'subject' property with value:
    """yaml
    A-7
    """

  @row-56 @trap-event-source
  Scenario: An event without an id and a source gets both
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-event-without-an-id-and-a-source-gets
      version: '1.0.0'
    do:
      - tell:
          emit:
            event:
              with:
                type: com.example.conformance.told.v1
    """
    When the workflow is executed
    Then the workflow output should have properties 'id', 'source', 'time'

  @row-61
  Scenario: One event ends the wait, and its data is the output
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: one-event-ends-the-wait-and-its-data-is
      version: '1.0.0'
    do:
      - hear:
          listen:
            to:
              one:
                with: { type: com.example.conformance.one.v1 }
    """
    When the workflow is started
    Then the workflow should be waiting
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '1'
    source: https://example.com/conformance
    type: com.example.conformance.other.v1
    data: { n: 1 }
    """
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '2'
    source: https://example.com/conformance
    type: com.example.conformance.one.v1
    data: { n: 2 }
    """
    Then the workflow should complete with output:
    """yaml
    [ { n: 2 } ]
    """

  @row-62
  Scenario: Any of several events ends the wait
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: any-of-several-events-ends-the-wait
      version: '1.0.0'
    do:
      - hear:
          listen:
            to:
              any:
                - with: { type: com.example.conformance.anyA.v1 }
                - with: { type: com.example.conformance.anyB.v1 }
    """
    When the workflow is started
    Then the workflow should be waiting
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '1'
    source: https://example.com/conformance
    type: com.example.conformance.anyB.v1
    data: { n: 1 }
    """
    Then the workflow should complete with output:
    """yaml
    [ { n: 1 } ]
    """

  @row-63
  Scenario: Events are gathered until a condition holds
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: events-are-gathered-until-a-condition-ho
      version: '1.0.0'
    do:
      - hear:
          listen:
            to:
              any:
                - with: { type: com.example.conformance.until.v1 }
              until: . | length >= 2
    """
    When the workflow is started
    Then the workflow should be waiting
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '1'
    source: https://example.com/conformance
    type: com.example.conformance.until.v1
    data: { n: 1 }
    """
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '2'
    source: https://example.com/conformance
    type: com.example.conformance.until.v1
    data: { n: 2 }
    """
    Then the workflow should complete with output:
    """yaml
    [ { n: 1 }, { n: 2 } ]
    """

  @row-63
  Scenario: The event that ends the wait is not in the output
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-event-that-ends-the-wait-is-not-in-t
      version: '1.0.0'
    do:
      - hear:
          listen:
            to:
              any:
                - with: { type: com.example.conformance.untilEvent.v1 }
              until:
                one:
                  with: { type: com.example.conformance.stop.v1 }
    """
    When the workflow is started
    Then the workflow should be waiting
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '1'
    source: https://example.com/conformance
    type: com.example.conformance.untilEvent.v1
    data: { n: 1 }
    """
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '2'
    source: https://example.com/conformance
    type: com.example.conformance.stop.v1
    data: { n: 2 }
    """
    Then the workflow should complete with output:
    """yaml
    [ { n: 1 } ]
    """

  @row-64
  Scenario: All events must come, in whatever order
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: all-events-must-come-in-whatever-order
      version: '1.0.0'
    do:
      - hear:
          listen:
            to:
              all:
                - with: { type: com.example.conformance.allA.v1 }
                - with: { type: com.example.conformance.allB.v1 }
    """
    When the workflow is started
    Then the workflow should be waiting
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '1'
    source: https://example.com/conformance
    type: com.example.conformance.allB.v1
    data: { n: 1 }
    """
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '2'
    source: https://example.com/conformance
    type: com.example.conformance.allA.v1
    data: { n: 2 }
    """
    Then the workflow should complete

  @row-65
  Scenario: An event may be read with its envelope
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-event-may-be-read-with-its-envelope
      version: '1.0.0'
    do:
      - hear:
          listen:
            to:
              one:
                with: { type: com.example.conformance.envelope.v1 }
            read: envelope
    """
    When the workflow is started
    Then the workflow should be waiting
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '1'
    source: https://example.com/conformance
    type: com.example.conformance.envelope.v1
    data: { n: 1 }
    """
    Then the workflow output should have a '0.type' property with value:
    """yaml
    com.example.conformance.envelope.v1
    """

  @row-66
  Scenario: Each event runs a list
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: each-event-runs-a-list
      version: '1.0.0'
    do:
      - hear:
          listen:
            to:
              any:
                - with: { type: com.example.conformance.each.v1 }
              until: . | length >= 2
          foreach:
            item: event
            at: place
            do:
              - note: { set: { n: '${ $event.n }', place: '${ $place }' } }
    """
    When the workflow is started
    Then the workflow should be waiting
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '1'
    source: https://example.com/conformance
    type: com.example.conformance.each.v1
    data: { n: 1 }
    """
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '2'
    source: https://example.com/conformance
    type: com.example.conformance.each.v1
    data: { n: 2 }
    """
    Then the workflow should complete
    And note should run 2 times

  @row-67 @trap-filter-text
  Scenario: An attribute of a filter is an expression, a pattern or a text
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-attribute-of-a-filter-is-an-expressio
      version: '1.0.0'
    do:
      - hear:
          listen:
            to:
              one:
                with:
                  type: ^com\.example\.conformance\..*
                  subject: ${ . == $workflow.input.order }
    """
    And given the workflow input is:
    """yaml
    order: A-7
    """
    When the workflow is started
    Then the workflow should be waiting
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '1'
    source: https://example.com/conformance
    type: com.example.conformance.filter.v1
    data: { n: 1 }
    subject: B-8
    """
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '2'
    source: https://example.com/conformance
    type: com.example.conformance.filter.v1
    data: { n: 2 }
    subject: A-7
    """
    Then the workflow should complete with output:
    """yaml
    [ { n: 2 } ]
    """

  @row-68
  Scenario: A key of an event must be the same
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: a-key-of-an-event-must-be-the-same
      version: '1.0.0'
    do:
      - hear:
          listen:
            to:
              one:
                with: { type: com.example.conformance.correlate.v1 }
                correlate:
                  order:
                    from: .data.order
                    expect: ${ $workflow.input.order }
    """
    And given the workflow input is:
    """yaml
    order: A-7
    """
    When the workflow is started
    Then the workflow should be waiting
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '1'
    source: https://example.com/conformance
    type: com.example.conformance.correlate.v1
    data: { order: B-8 }
    """
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '2'
    source: https://example.com/conformance
    type: com.example.conformance.correlate.v1
    data: { order: A-7 }
    """
    Then the workflow should complete with output:
    """yaml
    [ { order: A-7 } ]
    """

  @row-68 @trap-correlate-buffer
  Scenario: An event with a key that came before the wait is kept for it
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: an-event-with-a-key-that-came-before-the
      version: '1.0.0'
    do:
      - hold:
          call: lab.hold
          with: { name: kept }
      - hear:
          listen:
            to:
              one:
                with: { type: com.example.conformance.kept.v1 }
                correlate:
                  order:
                    from: .data.order
                    expect: ${ $workflow.input.order }
    """
    And given the workflow input is:
    """yaml
    order: A-7
    """
    When the workflow is started
    And the worker holds 'kept'
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '1'
    source: https://example.com/conformance
    type: com.example.conformance.kept.v1
    data: { order: A-7 }
    """
    When the worker lets 'kept' go
    Then the workflow should complete with output:
    """yaml
    [ { order: A-7 } ]
    """

  @row-66 @trap-foreach-input
  Scenario: The list of a foreach gets the event as its input
    Given a workflow with definition:
    """yaml
    document:
      dsl: '1.0.3'
      namespace: default
      name: the-list-of-a-foreach-gets-the-event
      version: '1.0.0'
    do:
      - hear:
          listen:
            to:
              any:
                - with: { type: com.example.conformance.eachInput.v1 }
          foreach:
            do:
              - note: { set: { seen: '${ .n }' } }
    """
    When the workflow is started
    Then the workflow should be waiting
    When this event is published:
    """yaml
    specversion: '1.0'
    id: '1'
    source: https://example.com/conformance
    type: com.example.conformance.eachInput.v1
    data: { n: 1 }
    """
    Then the workflow should complete with output:
    """yaml
    [ { seen: 1 } ]
    """
