//! Data directories after accidents: what was interrupted is gone on with, what is lost is named with the way out.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A directory that goes with the test.
struct Dir(DataDir);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("tombolo-data-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(DataDir::new(std::env::temp_dir().join(name)))
    }

    fn mode(&self, path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(self.0.root()));
    }
}

#[test]
fn an_interrupted_init_is_gone_on_with_wherever_it_stopped() {
    for stopped_after in 0..4 {
        let dir = Dir::new();
        let data = &dir.0;
        create_private_dir(data.root()).unwrap();
        if stopped_after >= 1 {
            replace_file(&data.name(), b"first\n", MODE_OPEN).unwrap();
        }
        if stopped_after >= 2 {
            // Earlier programs wrote it in its place, so that half of it may be there.
            fs::write(data.token(), "half").unwrap();
            fs::set_permissions(data.token(), fs::Permissions::from_mode(0o600)).unwrap();
        }
        if stopped_after >= 3 {
            drop(Store::open(StoreOptions { create: true, ..StoreOptions::new(data.store()) }).unwrap());
        }
        let node = data.init("berlin").unwrap();
        assert_eq!(data.load_identity().unwrap().node_id(), node);
        assert_eq!(data.load_name().unwrap(), "berlin");
        assert_eq!(data.load_token().unwrap().len(), 2 * TOKEN_BYTES);
        drop(data.open_store(1 << 20, node).unwrap());
        assert!(matches!(data.init("again"), Err(DataError::Exists { node: known, .. }) if known == node));
    }
}

#[test]
fn a_store_that_is_gone_is_named_and_init_makes_one_for_the_key() {
    let dir = Dir::new();
    let data = &dir.0;
    let node = data.init("berlin").unwrap();
    let token = data.load_token().unwrap();
    fs::remove_file(data.store()).unwrap();
    let refused = data.open_store(1 << 20, node).unwrap_err();
    let said = refused.to_string();
    assert!(
        matches!(refused, DataError::StoreGone { .. }) && said.contains("init") && said.contains("ticket"),
        "{said}"
    );
    assert_eq!(data.init("berlin").unwrap(), node, "the key stays");
    assert_eq!(data.load_token().unwrap(), token, "and the token");
    drop(data.open_store(1 << 20, node).unwrap());
}

#[test]
fn a_key_that_is_gone_is_not_made_anew_beside_a_store_with_spaces() {
    let dir = Dir::new();
    let data = &dir.0;
    data.init("berlin").unwrap();
    fs::remove_file(data.identity()).unwrap();
    // Nothing was in the store yet: this is an init that was interrupted.
    let node = data.init("berlin").unwrap();
    let store = data.open_store(1 << 20, node).unwrap();
    let contact = tombolo_crdt::rules::Contact { name: "berlin".to_owned(), addrs: Vec::new() };
    let key = data.load_identity().unwrap().signing_key().clone();
    let config = crate::engine::EngineConfig {
        key: key.clone(),
        contact,
        seed: [1; 32],
        step_work: crate::engine::STEP_WORK_MAX,
    };
    let mut engine = crate::engine::Engine::open(store, config).unwrap();
    let now = crate::engine::Now { mono: std::time::Duration::ZERO, wall_millis: 1 };
    let command = crate::engine::Command::CreateSpace { name: "shop".to_owned(), founder: Box::new(key) };
    drop(engine.step(now, vec![crate::engine::Input::Command(crate::engine::ReplyTo(1), command)]));
    drop(engine);
    fs::remove_file(data.identity()).unwrap();
    for refused in [data.init("berlin").unwrap_err(), data.load_identity().unwrap_err()] {
        assert!(matches!(refused, DataError::KeyGone { .. }), "{refused}");
    }
}

#[test]
fn files_have_the_permissions_they_need_and_links_are_not_followed() {
    let dir = Dir::new();
    let data = &dir.0;
    create_private_dir(data.root()).unwrap();
    let elsewhere = data.root().join("elsewhere");
    fs::write(&elsewhere, "mine").unwrap();
    symlink(&elsewhere, data.name()).unwrap();
    symlink(&elsewhere, data.root().join("name.new")).unwrap();
    data.init("berlin").unwrap();
    assert_eq!(
        (fs::read_to_string(&elsewhere).unwrap().as_str(), data.load_name().unwrap().as_str()),
        ("mine", "berlin")
    );
    let modes = [data.name(), data.token(), data.identity(), data.store()].map(|path| dir.mode(&path));
    assert_eq!(modes, [0o644, 0o600, 0o600, 0o600]);
    // A note that is written over in its place follows no link either.
    symlink(&elsewhere, data.running()).unwrap();
    assert!(overwrite_file(&data.running(), b"{}").is_err());
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
}

#[test]
fn a_token_that_others_can_read_is_refused_with_the_remedy() {
    let dir = Dir::new();
    let data = &dir.0;
    data.init("berlin").unwrap();
    fs::set_permissions(data.token(), fs::Permissions::from_mode(0o640)).unwrap();
    let refused = data.load_token().unwrap_err();
    assert!(matches!(refused, DataError::TokenOpen { mode: 0o640, .. }), "{refused}");
    assert!(refused.to_string().contains("chmod 600"));
    fs::remove_file(data.token()).unwrap();
    assert_eq!(data.load_token().unwrap().len(), 2 * TOKEN_BYTES);
}

#[test]
fn a_second_node_is_told_of_the_first() {
    let dir = Dir::new();
    let data = &dir.0;
    let node = data.init("berlin").unwrap();
    let _first = data.open_store(1 << 20, node).unwrap();
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let running = RunningNode { pid: 4711, listen: address, http: address, node: node.to_string() };
    data.write_running(&running).unwrap();
    assert_eq!(data.read_running(), Some(running));
    let said = data.open_store(1 << 20, node).unwrap_err().to_string();
    assert!(said.contains("process 4711") && said.contains("status"), "{said}");
}
