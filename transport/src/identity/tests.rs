use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("node.key");
    (dir, path)
}

#[test]
fn a_created_key_loads_again_and_belongs_to_its_owner_alone() {
    let (_dir, path) = place();
    let made = Identity::create(&path).expect("created");
    let read = Identity::load(&path).expect("loaded");
    assert_eq!(made.node_id(), read.node_id());
    assert_eq!(made.sign(b"x"), read.sign(b"x"));
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_format_is_what_the_documentation_says() {
    let (_dir, path) = place();
    let identity = Identity::from_seed(&[7; 32]);
    identity.save(&path).expect("saved");
    let text = fs::read_to_string(&path).expect("text");
    assert_eq!(text, format!("tombolo-key 1\nsecret {}\npublic {}\n", "07".repeat(32), identity.node_id()));
    assert_eq!(text.len(), 158);
}

#[test]
fn a_key_is_never_overwritten() {
    let (_dir, path) = place();
    let first = Identity::create(&path).expect("created");
    assert!(matches!(Identity::create(&path), Err(IdentityError::Exists { .. })));
    assert_eq!(Identity::load(&path).expect("loaded").node_id(), first.node_id());
}

#[test]
fn a_file_that_others_can_reach_is_refused_with_the_remedy() {
    let (_dir, path) = place();
    Identity::create(&path).expect("created");
    for mode in [0o640, 0o604, 0o620, 0o601, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        let error = Identity::load(&path).expect_err("refused");
        assert!(matches!(error, IdentityError::Permissions { mode: found, .. } if found == mode), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        Identity::load(&path).expect("accepted");
    }
}

#[test]
fn damaged_files_are_told_apart() {
    let (_dir, path) = place();
    let identity = Identity::create(&path).expect("created");
    let good = fs::read_to_string(&path).expect("text");
    let other = Identity::generate().expect("a key").node_id().to_string();
    let check = |text: &str, expected: fn(&IdentityError) -> bool| {
        fs::write(&path, text).expect("written");
        let error = Identity::load(&path).expect_err("refused");
        assert!(expected(&error), "{error}");
    };
    check("", |error| matches!(error, IdentityError::Length { bytes: 0, expected: 158, .. }));
    check(&good[..100], |error| matches!(error, IdentityError::Length { bytes: 100, .. }));
    check(&format!("{good}\n"), |error| matches!(error, IdentityError::Length { .. }));
    check(&"x".repeat(10_000), |error| matches!(error, IdentityError::Length { .. }));
    check(&good.replace("key 1", "key 2"), |error| matches!(error, IdentityError::Version { .. }));
    check("tombolo-key 12\nshort\n", |error| matches!(error, IdentityError::Version { .. }));
    check(&good.replace("secret", "sekret"), |error| matches!(error, IdentityError::Damaged { .. }));
    check(&good.replace(&identity.node_id().to_string(), &other), |error| {
        matches!(error, IdentityError::Damaged { .. })
    });
    check(&"y".repeat(158), |error| matches!(error, IdentityError::Damaged { .. }));
}

#[test]
fn no_file_and_no_regular_file_are_told_apart() {
    let (dir, path) = place();
    assert!(matches!(Identity::load(&path), Err(IdentityError::Missing { .. })));
    assert!(matches!(Identity::load(dir.path()), Err(IdentityError::NotAFile { .. })));
}

#[test]
fn nothing_shows_the_secret() {
    let identity = Identity::from_seed(&[0xab; 32]);
    let shown = format!("{identity:?} {:?}", identity.signing_key());
    assert!(!shown.contains("abab") && !shown.contains("171, 171"), "{shown}");
}
