//! A .proto file and what it imports, compiled.

use std::{collections::BTreeMap, sync::Arc};

use baton_worker::{Context, Outcome};
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};
use protox::{
    Compiler, Error,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver},
};
use reqwest::Url;

use crate::{
    Net, auth::Authentication, document, fault::Fault, input::Resource, limits::PROTO_FILES_MAX,
};

pub(super) async fn described(
    net: &Net,
    context: &Context,
    resource: &Resource,
) -> Outcome<Arc<DescriptorPool>> {
    let endpoint = &resource.endpoint;
    let key = document::key("grpc", endpoint, context);
    if let Some(pool) = net.documents.get(&key) {
        return Ok(pool);
    }
    let url = endpoint.url()?;
    let first = url.path_segments().and_then(Iterator::last).filter(|name| !name.is_empty());
    let first = first.unwrap_or("service.proto").to_owned();
    let mut files = BTreeMap::new();
    let mut wanted = vec![first.clone()];
    while let Some(name) = wanted.pop() {
        if files.len() == PROTO_FILES_MAX {
            let bound = PROTO_FILES_MAX;
            return Err(
                Fault::Document.because(format_args!("more than {bound} files are imported"))
            );
        }
        let at = if name == first { url.clone() } else { beside(&url, &name)? };
        let authentication = Authentication::read(endpoint.authentication.as_ref(), context)?;
        let text = document::fetch(net, context, at, authentication).await?;
        let file = parse(name.clone(), text).await?;
        let imports = file.file_descriptor_proto().dependency.clone();
        files.insert(name, file);
        // What comes with the compiler need not be fetched.
        let missing = imports.into_iter().filter(|import| {
            GoogleFileResolver::new().open_file(import).is_err() && !files.contains_key(import)
        });
        for import in missing.collect::<Vec<_>>() {
            if !wanted.contains(&import) {
                wanted.push(import);
            }
        }
    }
    let pool = tokio::task::spawn_blocking(move || compile(files, &first)).await?;
    let pool = Arc::new(pool.map_err(|error| invalid(&error))?);
    net.documents.keep(key, pool.clone());
    Ok(pool)
}

/// Imports are looked for from the folder of the first file. A path that leads elsewhere is no import.
fn beside(first: &Url, import: &str) -> Outcome<Url> {
    let found = first.join(import).ok().filter(|found| {
        let folder = first.path().rfind('/').map_or("/", |slash| &first.path()[..=slash]);
        found.origin() == first.origin() && found.path().starts_with(folder)
    });
    found.ok_or_else(|| {
        Fault::Document
            .because(format_args!("{import:?} cannot be imported from where the document is"))
    })
}

async fn parse(name: String, text: String) -> Outcome<File> {
    let parsed = tokio::task::spawn_blocking(move || File::from_source(&name, &text)).await?;
    parsed.map_err(|error| invalid(&error))
}

fn invalid(error: &Error) -> baton_worker::Failure {
    Fault::Document.because(format_args!("the document is no Protocol Buffers file: {error}"))
}

fn compile(files: BTreeMap<String, File>, first: &str) -> Result<DescriptorPool, Error> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Fetched(files));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file(first)?;
    Ok(compiler.descriptor_pool())
}

struct Fetched(BTreeMap<String, File>);

impl FileResolver for Fetched {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        let file = self.0.get(name).ok_or_else(|| Error::file_not_found(name))?;
        Ok(File::from_file_descriptor_proto(file.file_descriptor_proto().clone()))
    }
}

/// By the service's full name, or by its last part where only one service has it.
pub(super) fn method(
    pool: &DescriptorPool,
    service: &str,
    method: &str,
) -> Outcome<MethodDescriptor> {
    let found = match pool.get_service_by_name(service) {
        Some(found) => Some(found),
        None => only(pool.services().filter(|known| known.name() == service)),
    };
    let found = found.ok_or_else(|| {
        Fault::Operation.because(format_args!("the document has no service {service:?}"))
    })?;
    let method_found = found.methods().find(|known| known.name() == method);
    method_found.ok_or_else(|| {
        Fault::Operation
            .because(format_args!("service {:?} has no method {method:?}", found.full_name()))
    })
}

fn only(mut found: impl Iterator<Item = ServiceDescriptor>) -> Option<ServiceDescriptor> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_stays_below_the_folder_of_the_first_file() {
        let first = Url::parse("https://p.test/protos/app/greet.proto?v=1").unwrap();
        let found = beside(&first, "common/money.proto").unwrap();
        assert_eq!(found.as_str(), "https://p.test/protos/app/common/money.proto");
        for import in
            ["https://evil.test/x.proto", "//evil.test/x.proto", "../app2/x", "/etc/x.proto"]
        {
            assert_eq!(beside(&first, import).unwrap_err().title, "invalid-document", "{import}");
        }
    }
}
