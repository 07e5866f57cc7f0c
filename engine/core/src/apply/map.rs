//! What the items of a map change.

use alloc::{boxed::Box, vec};

use super::{get, get_mut, remove, set_ready};
use crate::{
    id::ActivationId,
    instance::{Instance, Mapping, Phase, Ready},
    json::Json,
};

pub(super) fn begin(
    instance: &mut Instance,
    id: ActivationId,
    items: &[Json],
    concurrency: u32,
    collect: bool,
) {
    let map = get_mut(instance, id);
    let results = vec![None; items.len()];
    let mapping =
        Mapping { items: items.to_vec(), concurrency, collect, results, ..Mapping::default() };
    map.phase = Phase::Map(Box::new(mapping));
    if items.is_empty() {
        map.value = Json::array([]);
    }
    let ready = if items.is_empty() { Ready::Exit } else { Ready::Branch };
    set_ready(instance, id, Some(ready));
}

/// The body went wrong for its item.
pub(super) fn fault(instance: &mut Instance, id: ActivationId, output: &Json) {
    let (parent, index) = (get(instance, id).parent, get(instance, id).branch);
    remove(instance, id);
    settle(instance, parent, index, output.clone());
}

/// The item is done: another one may begin, or the map is done.
pub(super) fn settle(instance: &mut Instance, id: ActivationId, index: u32, output: Json) {
    let map = get_mut(instance, id);
    let Phase::Map(mapping) = &mut map.phase else { return };
    mapping.settled += 1;
    mapping.bytes += output.len();
    mapping.results[index as usize] = Some(output);
    let mut ready = mapping.has_room().then_some(Ready::Branch);
    if mapping.settled as usize == mapping.items.len() {
        map.value = Json::array(mapping.results.iter().flatten());
        ready = Some(Ready::Exit);
    }
    set_ready(instance, id, ready);
}
