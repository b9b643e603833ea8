//! GET /containers/NAME/json: everything about a container, with all keys that clients read.

use std::sync::Arc;

use super::Daemon;
use super::answer::{Answered, ok};
use super::containers::find;
use super::request::ApiRequest;
use crate::container::description::{OWN, add_sizes, described};

/// A container.
pub(super) async fn container(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let with_size = request.query.is("size");
    let container = find(request.name()).await?;
    let found = super::command::blocking(move || {
        let mut value = described(&container);
        // Docker has no such key, and the config is ten times as long as all the others. `sandbox inspect` shows it.
        if let Some(all) = value.as_object_mut() {
            all.remove(OWN);
        }
        if with_size {
            add_sizes(&mut value, &container);
        }
        Ok(value)
    });
    ok(&found.await?)
}
