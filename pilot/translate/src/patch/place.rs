// SPDX-License-Identifier: Apache-2.0
//! Where a value goes in a list.

use tiphys_model::PatchOperation;

/// Does to a list what an operation says. `named` tells whether the patch says which element it means; then `matches` finds it, the first
/// one for all operations but removal.
pub(super) fn place<T>(
    list: &mut Vec<T>,
    operation: PatchOperation,
    named: bool,
    value: impl FnOnce() -> Option<T>,
    matches: impl Fn(&T) -> bool,
) {
    let found = || list.iter().position(&matches);
    let at = match operation {
        PatchOperation::Add => Some(list.len()),
        PatchOperation::InsertFirst => Some(0),
        // Behind nothing in particular is behind everything.
        PatchOperation::InsertAfter if named => found().map(|index| index + 1),
        PatchOperation::InsertAfter => Some(list.len()),
        PatchOperation::InsertBefore if named => found(),
        PatchOperation::InsertBefore => Some(0),
        PatchOperation::Replace if named => {
            if let Some(index) = found()
                && let Some(value) = value()
            {
                list[index] = value;
            }
            return;
        }
        PatchOperation::Remove if named => {
            list.retain(|item| !matches(item));
            return;
        }
        _ => None,
    };
    if let Some(index) = at
        && let Some(value) = value()
    {
        list.insert(index, value);
    }
}
