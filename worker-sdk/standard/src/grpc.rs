//! `call: grpc`: one method of a service that a .proto file describes.

mod channel;
mod codec;
mod number;
mod schema;
mod status;

use std::sync::Arc;

use baton_worker::{Context, Failure, Outcome};
use futures::TryStreamExt;
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, MethodDescriptor, SerializeOptions};
use serde::Deserialize;
use serde_json::{Map, Value};
use tonic::{
    Request,
    client::Grpc,
    metadata::{AsciiMetadataValue, MetadataMap},
    transport::Channel,
};

pub(crate) use self::channel::Channels;
use self::codec::Codec;
use crate::{
    Net,
    auth::Authentication,
    fault::Fault,
    input::Resource,
    limits::STREAM_MESSAGES_MAX,
    time::{left, within},
};

#[derive(Deserialize)]
pub(crate) struct Input {
    proto: Resource,
    service: Service,
    method: String,
    arguments: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Service {
    name: String,
    host: String,
    port: Option<u16>,
    authentication: Option<Value>,
}

pub(crate) async fn call(net: Arc<Net>, context: Context, input: Input) -> Outcome<Value> {
    let work = async {
        let pool = schema::described(&net, &context, &input.proto).await?;
        let method = schema::method(&pool, &input.service.name, &input.method)?;
        let message = message(&method, input.arguments.unwrap_or_default())?;
        let authentication = Authentication::read(input.service.authentication.as_ref(), &context)?;
        let channel = net.channels.get(&net, &input.service.host, input.service.port).await?;
        let mut request = Request::new(message);
        *request.metadata_mut() = metadata(&net, &context, authentication).await?;
        request.set_timeout(left(&context, net.settings.timeout));
        send(channel, &method, request, net.settings.response_bytes_max).await
    };
    within(&context, net.settings.timeout, work).await
}

/// The arguments as the method's request, by the JSON mapping of Protocol Buffers.
fn message(method: &MethodDescriptor, arguments: Map<String, Value>) -> Outcome<DynamicMessage> {
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let arguments = number::plain(Value::Object(arguments));
    DynamicMessage::deserialize_with_options(method.input(), arguments, &options).map_err(|error| {
        Fault::Input
            .because(format_args!("the arguments are no {}: {error}", method.input().full_name()))
    })
}

async fn metadata(
    net: &Net,
    context: &Context,
    authentication: Option<Authentication>,
) -> Outcome<MetadataMap> {
    let mut metadata = MetadataMap::new();
    let unusable = |_| Fault::Input.because("the credentials cannot be sent as metadata");
    if let Some(authentication) = authentication {
        let proof = authentication.proof(net).await?.ok_or_else(|| {
            Fault::Unsupported.because("gRPC has no challenge that digest could answer")
        })?;
        let mut proof = AsciiMetadataValue::try_from(proof).map_err(unusable)?;
        proof.set_sensitive(true);
        metadata.insert("authorization", proof);
    }
    let key = AsciiMetadataValue::try_from(context.idempotency_key()).map_err(unusable)?;
    metadata.insert("idempotency-key", key);
    if let Some(traceparent) = context.traceparent() {
        metadata
            .insert("traceparent", AsciiMetadataValue::try_from(traceparent).map_err(unusable)?);
    }
    Ok(metadata)
}

async fn send(
    channel: Channel,
    method: &MethodDescriptor,
    request: Request<DynamicMessage>,
    bytes_max: usize,
) -> Outcome<Value> {
    if method.is_client_streaming() {
        return Err(Fault::Unsupported.because("methods that take a stream are not supported here"));
    }
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = path.parse().map_err(|error| Fault::Document.because(error))?;
    let codec = Codec::new(method.output());
    let mut client = Grpc::new(channel).max_decoding_message_size(bytes_max);
    client.ready().await.map_err(|error| channel::failure(&error))?;
    if !method.is_server_streaming() {
        let answer =
            client.unary(request, path, codec).await.map_err(|status| status::failure(&status))?;
        return json(&answer.into_inner());
    }
    let answer = client
        .server_streaming(request, path, codec)
        .await
        .map_err(|status| status::failure(&status))?;
    let mut stream = answer.into_inner();
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while let Some(message) = stream.try_next().await.map_err(|status| status::failure(&status))? {
        bytes += message.encoded_len();
        if bytes > bytes_max || messages.len() == STREAM_MESSAGES_MAX {
            return Err(too_large(bytes_max));
        }
        messages.push(json(&message)?);
    }
    Ok(Value::Array(messages))
}

fn too_large(bytes_max: usize) -> Failure {
    Fault::ResponseTooLarge.because(format_args!(
        "the stream has more than {bytes_max} bytes or {STREAM_MESSAGES_MAX} messages"
    ))
}

/// Fields without a value have their default, so that an expression finds them.
fn json(message: &DynamicMessage) -> Outcome<Value> {
    let options = SerializeOptions::new().skip_default_fields(false);
    message.serialize_with_options(serde_json::value::Serializer, &options).map_err(|error| {
        Fault::Response.because(format_args!("the answer cannot be written as JSON: {error}"))
    })
}
