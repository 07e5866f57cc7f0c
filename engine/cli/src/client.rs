//! The connection to the engine.

use std::{error::Error as _, time::Duration};

use baton_proto::v1::{
    approval_service_client::ApprovalServiceClient, audit_service_client::AuditServiceClient,
    definition_service_client::DefinitionServiceClient, engine_service_client::EngineServiceClient,
    event_service_client::EventServiceClient, kill_service_client::KillServiceClient,
    once_service_client::OnceServiceClient, policy_service_client::PolicyServiceClient,
    workflow_service_client::WorkflowServiceClient,
};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

/// An instance's values may be large, and a page holds many.
const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Client {
    url: String,
    channel: Channel,
    caller: Caller,
}

/// Who calls, as each request says it.
#[derive(Clone, Default)]
pub(crate) struct Caller {
    token: Option<MetadataValue<Ascii>>,
    person: Option<MetadataValue<Ascii>>,
}

pub(crate) type Connection = InterceptedService<Channel, Caller>;

impl Caller {
    /// `token` for an engine that checks who calls, `person` for one in development mode.
    pub(crate) fn new(token: Option<&str>, person: Option<&str>) -> Result<Self, Error> {
        let value = |text: &str| text.parse::<MetadataValue<Ascii>>().map_err(|_| Error::Caller);
        let mut token = token.map(|token| value(&format!("Bearer {token}"))).transpose()?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        Ok(Self { token, person: person.map(value).transpose()? })
    }
}

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        if let Some(token) = &self.token {
            metadata.insert("authorization", token.clone());
        }
        if let Some(person) = &self.person {
            metadata.insert("baton-as", person.clone());
        }
        Ok(request)
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{url:?} is not the address of an engine; wanted http://host:port or host:port")]
    Address { url: String },
    #[error(
        "{url} is another machine, and http would show your token to whoever listens in: reach it through something on this machine that speaks TLS to it"
    )]
    ClearToken { url: String },
    #[error("a token, or a name, has only printable ASCII characters")]
    Caller,
    #[error(
        "no engine answers at {url}; start one with `baton dev`, or say where it is with --url or BATON_URL"
    )]
    Unreachable { url: String },
    #[error("the connection to {url} was lost: {detail}")]
    Lost { url: String, detail: String },
    /// The engine's own answer: `code` is stable and explained in docs/errors.md.
    #[error("{message}")]
    Refused { code: String, message: String },
    /// The engine cannot answer now, for example while a partition recovers.
    #[error("{message}")]
    Unavailable { code: String, message: String },
}

impl Client {
    /// Does not connect yet.
    pub(crate) fn new(address: &str, caller: Caller) -> Result<Self, Error> {
        let url =
            if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let bad = || Error::Address { url: address.to_owned() };
        let endpoint = Endpoint::from_shared(url.clone()).map_err(|_| bad())?;
        if endpoint.uri().scheme_str() != Some("http")
            || endpoint.uri().host().is_none_or(str::is_empty)
        {
            return Err(bad());
        }
        let host = endpoint.uri().host().unwrap_or_default().trim_matches(['[', ']']);
        let is_near = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if caller.token.is_some() && !is_near {
            return Err(Error::ClearToken { url });
        }
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            .connect_lazy();
        Ok(Self { url, channel, caller })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn workflows(&self) -> WorkflowServiceClient<Connection> {
        WorkflowServiceClient::with_interceptor(self.channel.clone(), self.caller.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn definitions(&self) -> DefinitionServiceClient<Connection> {
        DefinitionServiceClient::with_interceptor(self.channel.clone(), self.caller.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn approvals(&self) -> ApprovalServiceClient<Connection> {
        ApprovalServiceClient::with_interceptor(self.channel.clone(), self.caller.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<Connection> {
        AuditServiceClient::with_interceptor(self.channel.clone(), self.caller.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn kills(&self) -> KillServiceClient<Connection> {
        KillServiceClient::with_interceptor(self.channel.clone(), self.caller.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn once(&self) -> OnceServiceClient<Connection> {
        OnceServiceClient::with_interceptor(self.channel.clone(), self.caller.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn policies(&self) -> PolicyServiceClient<Connection> {
        PolicyServiceClient::with_interceptor(self.channel.clone(), self.caller.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn events(&self) -> EventServiceClient<Connection> {
        EventServiceClient::with_interceptor(self.channel.clone(), self.caller.clone())
    }

    pub(crate) fn engine(&self) -> EngineServiceClient<Connection> {
        EngineServiceClient::with_interceptor(self.channel.clone(), self.caller.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// What a status that is not OK means: the engine said no, or it was not there to say anything.
    pub(crate) fn error(&self, status: &Status) -> Error {
        if let Some(code) = status.metadata().get("baton-code").and_then(|code| code.to_str().ok())
        {
            let (code, message) = (code.to_owned(), status.message().to_owned());
            let is_unavailable = status.code() == Code::Unavailable;
            return if is_unavailable {
                Error::Unavailable { code, message }
            } else {
                Error::Refused { code, message }
            };
        }
        let detail = innermost(status);
        // What tonic says of a connection has a source; what an engine says has none.
        let is_ours = matches!(status.code(), Code::Unknown | Code::Internal | Code::Cancelled);
        if status.code() == Code::Unavailable || (is_ours && status.source().is_some()) {
            let url = self.url.clone();
            let is_down = detail.contains("refused") || status.message().contains("connect");
            return if is_down { Error::Unreachable { url } } else { Error::Lost { url, detail } };
        }
        Error::Refused {
            code: kebab(status.code()).to_owned(),
            message: status.message().to_owned(),
        }
    }
}

impl Error {
    /// Another try may reach the engine.
    pub(crate) fn is_connection(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Lost { .. })
    }

    /// Somebody who waits has reason to go on waiting.
    pub(crate) fn may_pass(&self) -> bool {
        self.is_connection() || matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Address { .. } => "bad-address",
            Self::Caller => "bad-caller",
            Self::ClearToken { .. } => "clear-token",
            Self::Unreachable { .. } => "no-connection",
            Self::Lost { .. } => "connection-lost",
            Self::Refused { code, .. } | Self::Unavailable { code, .. } => code,
        }
    }
}

fn innermost(status: &Status) -> String {
    let mut cause = status.source();
    let mut detail = status.message().to_owned();
    while let Some(error) = cause {
        detail = error.to_string();
        cause = error.source();
    }
    detail
}

/// For a refusal that did not come from Baton's own code, such as a method that an older engine lacks.
fn kebab(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid-argument",
        Code::DeadlineExceeded => "deadline-exceeded",
        Code::NotFound => "not-found",
        Code::AlreadyExists => "already-exists",
        Code::PermissionDenied => "permission-denied",
        Code::ResourceExhausted => "resource-exhausted",
        Code::FailedPrecondition => "failed-precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out-of-range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data-loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_may_be_a_url_or_host_and_port() {
        let url = |address: &str| {
            Client::new(address, Caller::default()).map(|client| client.url().to_owned()).ok()
        };
        assert_eq!(url("127.0.0.1:7420").as_deref(), Some("http://127.0.0.1:7420"));
        assert_eq!(url("http://engine:7420").as_deref(), Some("http://engine:7420"));
        for wrong in ["", "http://", "ftp://engine", "two words"] {
            assert_eq!(url(wrong), None, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn the_stable_code_comes_from_the_metadata() {
        let client = Client::new("127.0.0.1:1", Caller::default()).unwrap();
        let mut status = Status::unavailable("partition 3 recovers");
        status.metadata_mut().insert("baton-code", "partition-unavailable".parse().unwrap());
        assert!(
            matches!(client.error(&status), Error::Unavailable { code, .. } if code == "partition-unavailable")
        );
        assert!(
            matches!(client.error(&Status::unimplemented("no")), Error::Refused { code, .. } if code == "unimplemented")
        );
        assert!(client.error(&Status::unavailable("gone")).is_connection());
    }
}
