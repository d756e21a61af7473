//! Things that are made when somebody first needs them, shared by all who do, and forgotten when nobody has for a while.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// What is not used for so long is forgotten, unless somebody still holds it.
const FORGOTTEN: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Kept<K, V> {
    things: HashMap<K, Thing<V>>,
}

#[derive(Debug)]
struct Thing<V> {
    used: Instant,
    thing: Arc<V>,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self { things: HashMap::new() }
    }
}

impl<K: Eq + Hash, V> Kept<K, V> {
    /// The thing of this key, if there is one.
    pub(super) fn get(&mut self, key: &K) -> Option<Arc<V>> {
        let found = self.things.get_mut(key)?;
        found.used = Instant::now();
        Some(Arc::clone(&found.thing))
    }

    /// Keeps a new thing.
    pub(super) fn put(&mut self, key: K, thing: V) -> Arc<V> {
        let used = Instant::now();
        self.things
            .retain(|_, old| Arc::strong_count(&old.thing) > 1 || used.saturating_duration_since(old.used) < FORGOTTEN);
        let thing = Arc::new(thing);
        self.things.insert(key, Thing { used, thing: Arc::clone(&thing) });
        thing
    }

    /// The thing of this key, made if there is none.
    pub(super) fn get_or_make(&mut self, key: K, make: impl FnOnce(&K) -> V) -> Arc<V> {
        if let Some(known) = self.get(&key) {
            return known;
        }
        let made = make(&key);
        self.put(key, made)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_nobody_uses_or_holds_is_forgotten() {
        let mut kept = Kept::default();
        let held = kept.put("held", 1);
        kept.put("used", 2);
        kept.put("idle", 3);
        advance(FORGOTTEN / 2).await;
        assert_eq!(kept.get(&"used").as_deref(), Some(&2));
        advance(FORGOTTEN / 2).await;
        assert_eq!(kept.get(&"idle").as_deref(), Some(&3), "nothing needed the room");
        advance(FORGOTTEN - Duration::from_secs(1)).await;
        kept.get(&"used");
        advance(Duration::from_secs(1)).await;
        kept.put("new", 4);
        assert_eq!(kept.get(&"idle"), None);
        assert_eq!(kept.get(&"used").as_deref(), Some(&2));
        assert!(kept.get(&"held").is_some_and(|known| Arc::ptr_eq(&known, &held)));
        assert_eq!(*kept.get_or_make("idle", |_| 5), 5);
        assert_eq!(*kept.get_or_make("idle", |_| 6), 5);
    }
}
