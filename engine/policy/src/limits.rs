//! Every bound of policy sets, with its unit and its reason.

/// Bytes of all texts of a set: it fits one NATS message.
pub(crate) const SET_BYTES_MAX: usize = 1024 * 1024 - 16 * 1024;

/// Policies of a set: checking each against each kind of request takes some 0.1 ms.
pub(crate) const POLICIES_MAX: usize = 5_000;

/// People, groups and agents that a set names.
pub(crate) const ENTITIES_MAX: usize = 20_000;

/// Shards that are kept: each holds the policies for one action and one resource that a policy names, or one department.
pub(crate) const SHARDS_MAX: usize = 10_000;

/// Pairs of principal and resource whose entities are kept.
pub(crate) const PAIRS_MAX: usize = 10_000;

/// Bytes of an id, a group, a field, a level or a window.
pub(crate) const NAME_BYTES_MAX: usize = 128;

/// Of a quorum: more people than that do not come together for a step.
pub(crate) const QUORUM_MAX: u32 = 100;

/// Percent of what is certain: no agreement is about more.
pub(crate) const CONFIDENCE_MAX: i64 = 100;

/// Groups inside each other: what is in what is worked out in full.
pub(crate) const GROUPS_DEPTH_MAX: usize = 16;

/// Bytes of one policy, with what stands before it: Cedar recurses over its terms.
pub(crate) const POLICY_BYTES_MAX: usize = 8 * 1024;

/// Brackets inside each other in a policy.
pub(crate) const BRACKETS_MAX: usize = 64;

/// Of the thread that checks a set: enough for the longest policy, each of whose bytes could be a level.
pub(crate) const CHECK_STACK_BYTES: usize = 64 * 1024 * 1024;

/// Decisions that are kept: who asks the same again waits for no policy.
pub(crate) const DECISIONS_MAX: usize = 10_000;

/// Bytes of a file of a set: what is larger is no text of it.
pub(crate) const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Files of a set.
pub(crate) const FILES_MAX: usize = 1_000;

/// Folders inside each other.
pub(crate) const FOLDERS_DEPTH_MAX: usize = 8;

/// Bytes of the facts of a decision that is kept.
pub(crate) const KEPT_FACTS_BYTES_MAX: usize = 512;

/// Names of one person, each the same as the next.
pub(crate) const NAMES_MAX: usize = 8;
