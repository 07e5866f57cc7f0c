//! No bytes, however broken, make the wire panic; and what can be read of them is written again as it was read.

use baton_core::{Instance, InstanceId, Json, Timestamp};
use baton_proto::v1::{self, commit_body::Content, step_result::Outcome};
use proptest::prelude::*;
use prost::Message;

use super::{
    super::{LargeValues, decode_event, decode_state, encode_event, encode_state},
    error, started, story,
};

/// An instance after each event of the story, as bytes.
fn states() -> Vec<Vec<u8>> {
    let mut instance =
        Instance::new(InstanceId([1; 16]), started(Json::from_text("{}")), Timestamp(1));
    let after = |event| {
        baton_core::apply(&mut instance, event, Timestamp(2));
        encode_state(&instance, &mut LargeValues::new())
    };
    story().iter().map(after).collect()
}

/// The story in commits of one event, and one of all; and who claims.
fn commits() -> Vec<Vec<u8>> {
    let events: Vec<_> =
        story().iter().map(|event| encode_event(event, &mut LargeValues::new())).collect();
    let batch = |events: Vec<v1::Event>| {
        let instance = v1::InstanceEvents { instance: vec![1; 16], events };
        Content::Batch(v1::Batch { instances: vec![instance] })
    };
    let claim = Content::Claim(v1::Claim { epoch: 7, engine: "e".into() });
    let single = events.iter().map(|event| batch(vec![event.clone()]));
    let contents = single.chain([batch(events.clone()), claim]);
    let body = |content| v1::CommitBody {
        at_ms: 5,
        inbox_position: 6,
        event_position: 7,
        behind: vec![v1::Behind { instance: vec![1; 16], after: 3 }],
        content: Some(content),
    };
    contents.map(|content| body(content).encode_to_vec()).collect()
}

fn results() -> Vec<Vec<u8>> {
    let failure = super::super::encode_error(&error());
    let outcomes = [
        Outcome::Output(b"{\"a\":[1,\"\xc3\xbc\"]}".to_vec()),
        Outcome::Failure(v1::Failure { r#type: failure.r#type, status: 503, ..Default::default() }),
    ];
    let result = |outcome| v1::StepResult {
        instance: vec![1; 16],
        step: 2,
        attempt: 3,
        token: vec![4; 16],
        outcome: Some(outcome),
        worker: "w".into(),
        service: "s".into(),
        started_ms: 5,
        finished_ms: 6,
        cost: 7,
    };
    let results = outcomes.map(result);
    let batch = v1::ResultBatch { results: results.to_vec() };
    vec![batch.encode_to_vec(), results[0].encode_to_vec()]
}

/// One of the seeds with a few bytes changed, cut, put in or doubled; or nothing of the kind.
fn broken(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => prop::collection::vec(any::<u8>(), 0..6),
        // Lengths and numbers beyond range, and texts that are none.
        1 => prop::sample::select(vec![
            vec![0xff; 10],
            vec![0x80; 9],
            vec![0xff, 0xff, 0xff, 0xff, 0x0f],
            vec![0xed, 0xa0, 0x80],
            vec![0],
            vec![],
        ]),
    ];
    // Mostly in place of as many, for a length that is wrong breaks all that follows.
    let cut = prop_oneof![3 => Just(None), 1 => (0_usize..6).prop_map(Some)];
    let edit = (any::<prop::sample::Index>(), cut, piece);
    let edited = (prop::sample::select(seeds), prop::collection::vec(edit, 1..4)).prop_map(
        |(mut bytes, edits)| {
            for (at, cut, piece) in edits {
                let from = at.index(bytes.len() + 1);
                let to = (from + cut.unwrap_or(piece.len())).min(bytes.len());
                bytes.splice(from..to, piece);
            }
            bytes
        },
    );
    prop_oneof![9 => edited, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

/// What decodes is written as bytes that decode to the same message.
fn read<M: Message + Default + PartialEq + std::fmt::Debug>(
    bytes: &[u8],
) -> Result<Option<M>, TestCaseError> {
    let Ok(message) = M::decode(bytes) else { return Ok(None) };
    let again = M::decode(message.encode_to_vec().as_slice());
    prop_assert_eq!(again.as_ref(), Ok(&message));
    Ok(Some(message))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_broken_state_is_refused_or_one_that_comes_back(bytes in broken(states())) {
        let mut large = LargeValues::new();
        if let Ok(instance) = decode_state(&bytes, &large) {
            let encoded = encode_state(&instance, &mut large);
            let again = decode_state(&encoded, &large);
            prop_assert_eq!(again.as_ref().ok(), Some(&instance));
            prop_assert_eq!(encode_state(&instance, &mut large), encoded);
        }
    }

    #[test]
    fn a_broken_commit_is_refused_or_its_events_come_back(bytes in broken(commits())) {
        let Some(body) = read::<v1::CommitBody>(&bytes)? else { return Ok(()) };
        let Some(Content::Batch(batch)) = body.content else { return Ok(()) };
        let mut large = LargeValues::new();
        for event in batch.instances.into_iter().flat_map(|instance| instance.events) {
            if let Ok(event) = decode_event(event, &large) {
                let encoded = encode_event(&event, &mut large);
                prop_assert_eq!(decode_event(encoded, &large).ok(), Some(event));
            }
        }
    }

    #[test]
    fn a_broken_result_is_refused_or_comes_back(bytes in broken(results())) {
        read::<v1::ResultBatch>(&bytes)?;
        read::<v1::StepResult>(&bytes)?;
        read::<v1::Commit>(&bytes)?;
    }
}

#[test]
fn the_seeds_themselves_are_sound() {
    let large = LargeValues::new();
    assert!(states().iter().all(|state| decode_state(state, &large).is_ok()));
    assert!(commits().iter().all(|body| v1::CommitBody::decode(body.as_slice()).is_ok()));
    assert!(v1::ResultBatch::decode(results()[0].as_slice()).is_ok());
    // An edit that changes nothing must not be all that there is.
    assert!(states().iter().collect::<std::collections::BTreeSet<_>>().len() > 20);
}
