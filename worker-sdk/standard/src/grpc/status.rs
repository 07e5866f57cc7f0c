//! gRPC's status codes as errors of the language.

use baton_worker::{
    AUTHENTICATION_ERROR, AUTHORIZATION_ERROR, COMMUNICATION_ERROR, Failure, TIMEOUT_ERROR,
    VALIDATION_ERROR,
};
use tonic::{Code, Status};

use crate::{fault::Fault, guard::refusal};

/// The HTTP statuses are those of the mapping in google/rpc/code.proto.
pub(super) fn failure(status: &Status) -> Failure {
    if let Some(refused) = std::error::Error::source(status).and_then(refusal) {
        return Fault::AddressRefused.because(refused);
    }
    let (kind, http, retryable) = match status.code() {
        Code::Unauthenticated => (AUTHENTICATION_ERROR, 401, false),
        Code::PermissionDenied => (AUTHORIZATION_ERROR, 403, false),
        Code::DeadlineExceeded => (TIMEOUT_ERROR, 408, true),
        Code::InvalidArgument => (VALIDATION_ERROR, 400, false),
        Code::FailedPrecondition | Code::OutOfRange => (COMMUNICATION_ERROR, 400, false),
        Code::NotFound => (COMMUNICATION_ERROR, 404, false),
        Code::AlreadyExists => (COMMUNICATION_ERROR, 409, false),
        Code::Aborted => (COMMUNICATION_ERROR, 409, true),
        Code::ResourceExhausted => (COMMUNICATION_ERROR, 429, true),
        Code::Cancelled => (COMMUNICATION_ERROR, 499, false),
        Code::Unimplemented => (COMMUNICATION_ERROR, 501, false),
        Code::Unavailable => (COMMUNICATION_ERROR, 503, true),
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => {
            (COMMUNICATION_ERROR, 500, false)
        }
    };
    let name = format!("{:?}", status.code());
    Fault::Grpc(kind, http, retryable).because(format_args!("{name}: {}", status.message()))
}
