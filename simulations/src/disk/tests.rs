//! What a disk leaves after each kind of mishap.

use super::*;

/// A disk of four sectors of ones, synced.
fn ones() -> Disk {
    let disk = Disk::new();
    disk.set_len(2048).unwrap();
    disk.write(0, &[1; 2048]).unwrap();
    disk.sync_data().unwrap();
    disk
}

fn bytes(disk: &Disk) -> Vec<u8> {
    let mut all = vec![0; disk.size()];
    disk.read(0, &mut all).unwrap();
    all
}

#[test]
fn a_crash_leaves_what_was_synced_and_any_part_of_what_was_not() {
    let disk = ones();
    assert!(!disk.is_dirty());
    disk.write(100, &[2; 1000]).unwrap();
    disk.write(600, &[3; 10]).unwrap();
    disk.set_len(4096).unwrap();
    disk.write(3000, &[4; 10]).unwrap();
    let all = bytes(&disk);
    assert_eq!(bytes(&disk.crash_image(Unsynced::Kept, 0)), all);
    assert_eq!(bytes(&disk.crash_image(Unsynced::Lost, 0)), vec![1; 2048]);
    let (mut whole, mut torn) = (0, 0);
    for seed in 0..64 {
        let subset = bytes(&disk.crash_image(Unsynced::Subset, seed));
        let first = &subset[100..600];
        assert!(first == [1; 500] || first == [2; 500], "a write is kept whole or not at all");
        whole += usize::from(first == [2; 500]);
        let left = bytes(&disk.crash_image(Unsynced::Torn, seed));
        let halves = (left[511], left[512]);
        assert!(left[100..512].iter().all(|byte| *byte == halves.0), "a sector is kept whole or not at all");
        torn += usize::from(halves.0 != halves.1);
        assert_eq!(left, bytes(&disk.crash_image(Unsynced::Torn, seed)), "the seed decides");
    }
    assert!(whole > 0 && whole < 64 && torn > 0, "{whole} whole, {torn} torn");
    let after = disk.crash(Unsynced::Kept, 0);
    assert_eq!((bytes(&after), after.usage()), (all, disk.usage()));
    assert!(disk.read(0, &mut [0]).is_err() && disk.sync_data().is_err(), "the process is dead");
}

#[test]
fn what_was_cut_off_is_back_when_the_cut_was_not_synced() {
    let disk = ones();
    disk.write(1500, &[2; 100]).unwrap();
    disk.set_len(1000).unwrap();
    disk.set_len(2048).unwrap();
    assert_eq!(bytes(&disk)[1000..], [0; 1048]);
    assert_eq!(bytes(&disk.crash_image(Unsynced::Lost, 0)), vec![1; 2048]);
}

#[test]
fn power_goes_after_so_many_operations_and_nothing_is_changed_afterwards() {
    let disk = ones();
    disk.cut_power_after(1);
    disk.write(0, &[2]).unwrap();
    assert_eq!(disk.tripped(), None);
    assert!(disk.write(1, &[2]).is_err() && disk.write(2, &[2]).is_err() && disk.sync_data().is_err());
    assert_eq!(disk.tripped(), Some(4));
    let left = disk.crash(Unsynced::Kept, 0);
    assert_eq!(bytes(&left)[..3], [2, 1, 1]);
    assert_eq!(left.tripped(), None);
}

#[test]
fn what_a_failed_sync_dropped_is_lost_until_it_is_written_again() {
    let disk = ones();
    disk.fail_once_after(2);
    disk.write(0, &[2; 512]).unwrap();
    disk.write(600, &[2; 10]).unwrap();
    assert!(disk.sync_data().is_err());
    assert_eq!(disk.usage().errors, 1);
    disk.sync_data().unwrap();
    assert_eq!(bytes(&disk)[..512], [2; 512], "reads see it");
    assert_eq!(bytes(&disk.crash_image(Unsynced::Lost, 0)), vec![1; 2048], "the disk does not have it");
    disk.write(605, &[3]).unwrap();
    assert_eq!(bytes(&disk.crash_image(Unsynced::Lost, 0)), vec![1; 2048]);
    disk.sync_data().unwrap();
    let left = bytes(&disk.crash_image(Unsynced::Lost, 0));
    assert_eq!((left[0], &left[600..610]), (1, &[2, 2, 2, 2, 2, 3, 2, 2, 2, 2][..]), "the whole sector was written");
    disk.write(0, &[4]).unwrap();
    disk.sync_data().unwrap();
    assert!(!disk.is_dirty());
}

#[test]
fn a_failed_write_has_stored_its_first_half() {
    let disk = ones();
    disk.fail_once_after(0);
    assert!(disk.write(0, &[2; 10]).is_err());
    assert_eq!(bytes(&disk)[..10], [2, 2, 2, 2, 2, 1, 1, 1, 1, 1]);
    disk.write(0, &[2; 10]).unwrap();
}

#[test]
fn a_quota_stops_growth_and_holes_but_not_what_is_there() {
    let disk = ones();
    disk.set_len(1 << 20).unwrap();
    disk.set_room(Some(8192));
    disk.write(0, &[2; 2048]).unwrap();
    disk.write(8192, &[2; 4096]).unwrap();
    disk.write(8192, &[3; 4096]).unwrap();
    let full = |done: io::Result<()>| done.unwrap_err().kind() == ErrorKind::StorageFull;
    assert!(full(disk.set_len(2 << 20)) && full(disk.write(65_536, &[1; 8192])));
    disk.set_room(None);
    disk.write(65_536, &[1; 8192]).unwrap();
    disk.set_free(Some(5));
    assert_eq!(disk.volume().unwrap().free, 5);
}

#[test]
fn a_cold_file_is_damaged_as_asked() {
    let disk = ones();
    let image = disk.image();
    image.flip_bits(1, 7);
    let different = |image: &Disk| bytes(image).iter().zip(&bytes(&disk)).filter(|(a, b)| a != b).count();
    // The one block that was written is longer than the file: the flip may fall behind its end.
    image.flip_bits(20, 8);
    assert!((1..=21).contains(&different(&image)));
    assert_eq!(bytes(&disk), vec![1; 2048], "the original is another disk");
    image.set_size(100);
    assert_eq!(image.size(), 100);
    let two = Disk::new();
    two.set_len(8192).unwrap();
    two.write(0, &[1; 4096]).unwrap();
    two.write(4096, &[2; 4096]).unwrap();
    let hit = (0..20).find(|seed| two.misdirect(*seed)).expect("one of them copies one block over the other");
    assert_eq!(bytes(&two)[0], bytes(&two)[4096], "seed {hit}");
}
