//! Damaged values, files that are no stores, and too little room.

use std::fs::OpenOptions;
use std::io;
use std::sync::Arc;

use redb::{Database, ReadableTable};

use super::super::codec::with_sum;
use super::super::layout::{self, Table, state};
use super::*;

fn filled(folder: &Folder) {
    let store = folder.open();
    let mut batch = store.begin().unwrap();
    fill(&mut batch);
    batch.commit().unwrap();
}

#[test]
fn a_flipped_bit_in_any_value_is_told_and_never_given_out() {
    let folder = Folder::new();
    filled(&folder);
    let store = folder.open();
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Entities) {
        let mut values = Vec::new();
        let batch = store.begin().unwrap();
        batch
            .scan_raw(table, &[], None, &mut |key, value| {
                // The format is read when the store is opened.
                if table != Table::State || key != [state::FORMAT] {
                    values.push((key.to_vec(), value.to_vec()));
                }
                Ok(std::ops::ControlFlow::Continue(()))
            })
            .unwrap();
        assert!(!values.is_empty(), "{table:?}");
        for (key, value) in values {
            for at in 0..value.len() {
                let mut batch = store.begin().unwrap();
                let mut flipped = value.clone();
                flipped[at] ^= 1 << (at % 8);
                batch.put_raw(table, key.clone(), flipped);
                let told = read(&batch).and_then(|()| batch.purge_idempotency(0, 1).map(drop));
                let Err(StoreError::Corrupt { table: named, key: at_key, .. }) = told else {
                    panic!("{table:?} {key:?}, byte {at}: {told:?}");
                };
                assert_eq!((named, at_key), (table.name(), key.clone()));
            }
            let mut batch = store.begin().unwrap();
            batch.put_raw(table, key.clone(), value[..4].to_vec());
            assert!(read(&batch).and_then(|()| batch.purge_idempotency(0, 1).map(drop)).is_err(), "cut off");
        }
    }
}

#[test]
fn a_damaged_value_in_the_file_leaves_the_others_readable() {
    let folder = Folder::new();
    filled(&folder);
    {
        let database = Database::open(folder.options().path).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(Table::Entries.definition()).unwrap();
            let key = layout::number(1);
            let mut value = table.get(key.as_slice()).unwrap().unwrap().value().to_vec();
            value[70] ^= 0x10;
            table.insert(key.as_slice(), value.as_slice()).unwrap();
        }
        transaction.commit().unwrap();
    }
    let store = folder.open();
    let reading = store.reader().reading().unwrap();
    let error = reading.entry(feed(1), 1).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { table: "entries", .. }), "{error:?}");
    assert!(!error.needs_reopen());
    assert!(error.to_string().contains("01010101"), "{error}");
    assert_eq!(reading.entry(feed(1), 2), Ok(Some(entry_row(2))));
}

#[test]
fn a_store_is_opened_once_and_only_created_when_asked() {
    let folder = Folder::new();
    let absent = StoreOptions { create: false, ..folder.options() };
    assert!(matches!(Store::open(absent.clone()), Err(OpenError::Missing { .. })));
    assert!(!absent.path.exists());
    let store = folder.open();
    let second = Store::open(absent.clone()).unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "{second:?}");
    assert!(second.to_string().contains("in use by another process"));
    store.reopen().unwrap();
    assert!(matches!(Store::open(absent.clone()), Err(OpenError::InUse { .. })), "also after a reopen");
    drop(store);
    drop(Store::open(absent).unwrap());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(folder.options().path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "for its owner only");
    }
}

#[test]
fn a_file_that_vanished_keeps_the_store_closed_until_it_is_back() {
    let folder = Folder::new();
    let store = folder.open();
    let (path, away) = (folder.options().path, folder.0.join("away"));
    std::fs::rename(&path, &away).unwrap();
    assert!(matches!(store.reopen(), Err(StoreError::Reopen(OpenError::Missing { .. }))), "never created anew");
    assert_eq!(store.begin().err(), Some(StoreError::Closed));
    std::fs::rename(&away, &path).unwrap();
    store.reopen().unwrap();
    assert!(store.begin().is_ok());
}

#[test]
fn foreign_and_cut_off_files_are_refused_and_left_alone() {
    let folder = Folder::new();
    let path = folder.options().path;
    for content in [b"".as_slice(), b"redb", b"SQLite format 3\0 and so on", &[0; 4096]] {
        std::fs::write(&path, content).unwrap();
        let refused = Store::open(folder.options());
        assert!(matches!(refused, Err(OpenError::Foreign { .. })), "{refused:?}");
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
    std::fs::remove_file(&path).unwrap();
    filled(&folder);
    let whole = std::fs::read(&path).unwrap();
    for length in [9, 64, 320, 4095, 4096, 8192, whole.len() / 2, whole.len() - 4096] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let refused = Store::open(folder.options());
        assert!(matches!(refused, Err(OpenError::Damaged { .. })), "{length} bytes: {refused:?}");
    }
    std::fs::write(&path, &whole).unwrap();
    read(&folder.open().reader().reading().unwrap()).unwrap();
}

#[test]
fn another_programs_database_is_refused() {
    let folder = Folder::new();
    let path = folder.options().path;
    {
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(redb::TableDefinition::<u64, u64>::new("other")).unwrap();
        transaction.commit().unwrap();
    }
    let refused = Store::open(folder.options());
    assert!(matches!(refused, Err(OpenError::Foreign { .. })), "{refused:?}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn another_format_is_refused_by_name_with_the_way_out() {
    let folder = Folder::new();
    drop(folder.open());
    let path = folder.options().path;
    for other in [1, FORMAT_VERSION - 1, FORMAT_VERSION + 1, u32::MAX] {
        {
            let database = Database::open(&path).unwrap();
            let transaction = database.begin_write().unwrap();
            let key = [state::FORMAT];
            let value = with_sum(&key, other.to_le_bytes().to_vec());
            let mut table = transaction.open_table(Table::State.definition()).unwrap();
            table.insert(key.as_slice(), value.as_slice()).unwrap();
            drop(table);
            transaction.commit().unwrap();
        }
        let refused = Store::open(folder.options()).unwrap_err();
        assert!(
            matches!(refused, OpenError::Format { found, supported: FORMAT_VERSION, .. } if found == other),
            "{refused:?}"
        );
        let said = refused.to_string();
        assert!(said.contains(&format!("format {other};")) && said.contains("export") && said.contains("import"));
    }
}

#[test]
fn half_a_creation_is_begun_again() {
    let folder = Folder::new();
    let path = folder.options().path;
    std::fs::write(path.with_extension("redb.new"), b"half").unwrap();
    drop(folder.open());
    assert!(!path.with_extension("redb.new").exists());
    assert!(OpenOptions::new().read(true).open(path).is_ok());
}

#[derive(Clone, Debug)]
struct Fixed(Arc<AtomicU64>);

impl SpaceProbe for Fixed {
    fn volume(&self) -> io::Result<Volume> {
        Ok(Volume { free: self.0.load(Ordering::Relaxed), total: 1 << 40 })
    }
}

#[test]
fn a_disk_that_is_nearly_full_is_told_before_redb_meets_it() {
    let (free, disk) = (Fixed(Arc::default()), disk::Disk::default());
    let options = StoreOptions { create: true, reserve_bytes: Some(1000), ..StoreOptions::new("simulated") };
    let store = Store::open_with_backend(move || Ok(disk.clone()), free.clone(), options).unwrap();
    let put = |room: u64| {
        free.0.store(room, Ordering::Relaxed);
        let mut batch = store.begin().unwrap();
        batch.put_meta("n", &room.to_le_bytes()).unwrap();
        batch.commit()
    };
    assert_eq!(put(1000), Ok(()));
    assert_eq!(store.full(), None);
    assert_eq!(put(999), Ok(()), "small rows may still be written");
    assert!(store.full().is_some());
    let refused = put(499).unwrap_err();
    assert!(matches!(refused, StoreError::Full { latched: false, .. }) && !refused.needs_reopen(), "{refused:?}");
    assert_eq!(store.begin().unwrap().meta("n"), Ok(Some(999u64.to_le_bytes().to_vec())), "reading goes on");
    assert_eq!(store.begin().unwrap().commit(), Ok(()), "so do empty batches");
    assert_eq!(put(1000), Ok(()));
    assert_eq!(store.full(), None);
}

#[test]
fn the_reserve_is_a_hundredth_of_the_volume_within_bounds() {
    let reserve = |total| Volume { free: 0, total }.reserve();
    assert_eq!(reserve(1 << 20), RESERVE_BYTES_MIN);
    assert_eq!(reserve(3 << 30), (3 << 30) / RESERVE_DIVISOR);
    assert_eq!(reserve(1 << 42), RESERVE_BYTES_MAX);
    let probe = probe::FileVolume(std::env::temp_dir());
    assert!(probe.volume().unwrap().total > 0);
    let error: StoreError = io::Error::from_raw_os_error(28).into();
    if cfg!(unix) {
        assert!(matches!(error, StoreError::Full { latched: true, .. }), "ENOSPC");
    }
}

#[test]
fn a_damaged_name_of_a_table_is_told_when_the_store_is_opened() {
    let folder = Folder::new();
    filled(&folder);
    let path = folder.options().path;
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for name in Table::ALL.map(Table::name) {
        for at in (0..whole.len() - name.len()).filter(|at| whole[*at..].starts_with(name.as_bytes())) {
            let mut bytes = whole.clone();
            bytes[at] = 0xff;
            std::fs::write(&path, bytes).unwrap();
            match Store::open(folder.options()) {
                // A page that is not used any more.
                Ok(_) => {}
                Err(OpenError::Damaged { .. } | OpenError::Foreign { .. }) => refused += 1,
                Err(other) => panic!("{name} at {at}: {other:?}"),
            }
        }
    }
    assert!(refused >= Table::COUNT, "{refused}");
}

#[test]
fn a_store_that_is_deleted_while_it_is_open_is_called_gone_not_full() {
    let folder = Folder::new();
    let store = folder.open();
    assert_eq!(store.full(), None);
    std::fs::remove_file(folder.options().path).unwrap();
    let told = store.full().unwrap();
    assert!(told.contains("is gone") && told.contains("store.redb") && !told.contains("full"), "{told}");
    let mut batch = store.begin().unwrap();
    batch.put_meta("n", b"1").unwrap();
    let refused = batch.commit().unwrap_err();
    assert!(matches!(refused, StoreError::Gone { .. }) && !refused.needs_reopen(), "{refused:?}");
    assert_eq!(store.reader().reading().unwrap().meta("n").unwrap(), None, "reading goes on");
}

#[test]
fn a_store_at_rest_is_read_without_writing_a_byte() {
    let folder = Folder::new();
    filled(&folder);
    let path = folder.options().path;
    let before = std::fs::read(&path).unwrap();
    {
        let resting = Resting::read_only(&folder.options()).unwrap();
        let spaces = resting.reading().unwrap().spaces().unwrap();
        assert!(!spaces.is_empty(), "what is there is read");
        assert!(matches!(Store::open(folder.options()), Err(OpenError::InUse { .. })), "it stays locked meanwhile");
    }
    assert!(before == std::fs::read(&path).unwrap(), "something was written");
    // What is no store, or none that this program reads, is told as ever.
    std::fs::write(&path, b"something else entirely").unwrap();
    assert!(matches!(Resting::read_only(&folder.options()), Err(OpenError::Foreign { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(Resting::open(folder.options()), Err(OpenError::Missing { .. })));
}
