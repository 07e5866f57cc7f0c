//! Why a request is refused, with the stable code that docs/errors.md explains.

use baton_core::Rejection;

#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    InvalidId(String),
    #[error("the page token is not one that was given out for this list")]
    InvalidPageToken,
    #[error("the workflow {0} is not deployed")]
    UnknownWorkflow(String),
    #[error("the catalog has no function {0}")]
    UnknownFunction(String),
    #[error("there is no instance {0}")]
    UnknownInstance(String),
    #[error("the idempotency key was used with another input or other labels")]
    KeyConflict,
    #[error("{0}")]
    TooLarge(String),
    #[error("the input does not fit the workflow: {0}")]
    InvalidInput(String),
    #[error("the workflow has problems: {0}")]
    InvalidWorkflow(String),
    #[error("the function has problems: {0}")]
    InvalidFunction(String),
    #[error("the policies have problems: {0}")]
    InvalidPolicies(String),
    #[error("{0}")]
    UnknownPolicies(String),
    #[error("{0}")]
    NothingToRollBack(String),
    #[error("{0}")]
    UnknownSwitch(String),
    #[error("{0}")]
    UnknownKey(String),
    #[error("{0}")]
    TooManySwitches(String),
    #[error("kill switch {0} stops the workflow: no instance of it is started")]
    WorkflowStopped(u32),
    #[error("{0}")]
    Unauthenticated(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("this engine cannot sign what it exports: start it with --audit-key")]
    NoAuditKey,
    #[error("{0}")]
    CatalogFull(String),
    #[error("{0}")]
    VersionConflict(String),
    #[error("{0}")]
    Rejected(Rejection),
    #[error("{0}")]
    InvalidEvent(String),
    #[error("too many requests wait, try again later")]
    Overloaded,
    #[error("the partition is not available here: {0}")]
    PartitionUnavailable(String),
    #[error("{0}")]
    Internal(String),
}

impl Refusal {
    /// Stable: programs may match on it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid-argument",
            Self::InvalidId(_) => "invalid-id",
            Self::InvalidPageToken => "invalid-page-token",
            Self::UnknownWorkflow(_) => "unknown-workflow",
            Self::UnknownFunction(_) => "unknown-catalog-function",
            Self::UnknownInstance(_) => "unknown-instance",
            Self::KeyConflict => "key-conflict",
            Self::TooLarge(_) => "too-large",
            Self::InvalidInput(_) => "invalid-input",
            Self::InvalidWorkflow(_) => "invalid-workflow",
            Self::InvalidFunction(_) => "invalid-function",
            Self::InvalidPolicies(_) => "invalid-policies",
            Self::UnknownPolicies(_) => "unknown-policies",
            Self::NothingToRollBack(_) => "nothing-to-roll-back",
            Self::UnknownSwitch(_) => "unknown-switch",
            Self::UnknownKey(_) => "unknown-key",
            Self::TooManySwitches(_) => "too-many-switches",
            Self::WorkflowStopped(_) => "workflow-stopped",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::NoAuditKey => "no-audit-key",
            Self::CatalogFull(_) => "catalog-full",
            Self::VersionConflict(_) => "version-conflict",
            Self::Rejected(rejection) => rejection.code(),
            Self::InvalidEvent(_) => "invalid-event",
            Self::Overloaded => "overloaded",
            Self::PartitionUnavailable(_) => "partition-unavailable",
            Self::Internal(_) => "internal",
        }
    }

    fn grpc(&self) -> tonic::Code {
        match self {
            Self::Invalid(_)
            | Self::InvalidId(_)
            | Self::InvalidPageToken
            | Self::TooLarge(_)
            | Self::InvalidInput(_)
            | Self::InvalidWorkflow(_)
            | Self::InvalidFunction(_)
            | Self::InvalidPolicies(_)
            | Self::InvalidEvent(_) => tonic::Code::InvalidArgument,
            Self::UnknownWorkflow(_)
            | Self::UnknownFunction(_)
            | Self::UnknownPolicies(_)
            | Self::UnknownSwitch(_)
            | Self::UnknownKey(_)
            | Self::UnknownInstance(_) => tonic::Code::NotFound,
            Self::Unauthenticated(_) => tonic::Code::Unauthenticated,
            Self::Forbidden(_) => tonic::Code::PermissionDenied,
            Self::KeyConflict | Self::VersionConflict(_) => tonic::Code::AlreadyExists,
            Self::Rejected(_)
            | Self::NothingToRollBack(_)
            | Self::WorkflowStopped(_)
            | Self::NoAuditKey => tonic::Code::FailedPrecondition,
            Self::Overloaded | Self::CatalogFull(_) | Self::TooManySwitches(_) => {
                tonic::Code::ResourceExhausted
            }
            Self::PartitionUnavailable(_) => tonic::Code::Unavailable,
            Self::Internal(_) => tonic::Code::Internal,
        }
    }
}

/// The trailer that carries [`Refusal::code`].
pub const CODE_TRAILER: &str = "baton-code";

impl From<Refusal> for tonic::Status {
    fn from(refusal: Refusal) -> Self {
        let mut status = Self::new(refusal.grpc(), refusal.to_string());
        let code = tonic::metadata::MetadataValue::from_static(refusal.code());
        status.metadata_mut().insert(CODE_TRAILER, code);
        status
    }
}
