//! Lists that may be long.

use std::fmt::Debug;

use kube::Api;
use kube::api::ListParams;
use serde::de::DeserializeOwned;

/// How many objects one page holds.
const PAGE: u32 = 500;

/// All objects, page by page.
pub(super) async fn all<K>(objects: &Api<K>, wanted: ListParams) -> Result<Vec<K>, kube::Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let mut page = wanted.limit(PAGE);
    let mut all = Vec::new();
    loop {
        let listed = objects.list(&page).await?;
        all.extend(listed.items);
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(all),
        }
    }
}
