//! Baton's wire, generated from `proto/baton/v1`: the log, the worker protocol and the API; and what both who writes it and
//! who checks it must compute alike.

pub mod chain;
pub mod pack;
pub mod signed;

/// Package `baton.v1`. The .proto files say what each message and field means.
#[expect(clippy::pedantic, reason = "generated code")]
#[allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "comments of .proto files are plain text"
)]
pub mod v1 {
    tonic::include_proto!("baton.v1");
}

/// All of the above as an encoded `FileDescriptorSet`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
