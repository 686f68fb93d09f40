#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, sync::Arc};

use super::*;

fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

fn all(log: &Log) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    log.scan(0, &mut |sequence, key, _| {
        found.push((sequence, u64::from_be_bytes(key[8..].try_into().unwrap())));
        true
    })
    .unwrap();
    found
}

#[test]
fn what_was_appended_is_found_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let log = Log::open(folder.path()).unwrap();
        for number in 0..12 {
            assert_eq!(log.append(key(number), &[round]).unwrap(), u64::from(round) * 12 + number);
        }
    }
    let log = Log::open(folder.path()).unwrap();
    assert_eq!(log.get(&key(3)).unwrap().unwrap(), [2]);
    assert_eq!(log.get_all(&key(3)).unwrap(), [[0], [1], [2]]);
    assert_eq!(log.last().unwrap().unwrap().sequence, 35);
    assert_eq!(all(&log).len(), 36);
}

#[test]
fn the_oldest_record_of_a_key_is_located_in_any_segment() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path()).unwrap();
    for number in 0..5 {
        log.append_many(vec![(key(number), vec![1]), (key(90), vec![2])]).unwrap();
    }
    roll(folder.path(), &log.0.view).unwrap();
    for number in 3..8 {
        log.append(key(number), &[3]).unwrap();
    }
    let place = |log: &Log, number| {
        log.locate(&key(number)).unwrap().map(|record| (record.sequence, record.payload))
    };
    for log in [log, Log::open(folder.path()).unwrap()] {
        assert_eq!(place(&log, 90), Some((1, vec![2])));
        assert_eq!(place(&log, 4), Some((8, vec![1])), "the sealed one is older");
        assert_eq!(place(&log, 6), Some((13, vec![3])));
        assert_eq!(place(&log, 50), None);
    }
}

#[test]
fn a_segment_that_is_forgotten_while_somebody_reads_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path()).unwrap();
    for number in 0..4 {
        log.append(key(7), &[number]).unwrap();
        if number < 3 {
            roll(folder.path(), &log.0.view).unwrap();
        }
    }
    let seen = log.seen(&key(7));
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    assert_eq!(log.forget_before(1, soon).unwrap(), 1);
    assert_eq!(log.append(key(7), &[4]).unwrap(), 4, "nobody waits for the reader");
    assert_eq!(log.read_all(&key(7), &seen).unwrap(), [[1], [2], [3]]);
    std::fs::remove_file(&seen.sealed[1].path).unwrap();
    assert!(log.read_all(&key(7), &seen).is_err(), "one that is lost is an error");
}

#[test]
fn what_is_forgotten_is_whole_segments_and_the_rest_keeps_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path()).unwrap();
    for number in 0..9 {
        log.append(key(number), &[1]).unwrap();
        if number % 3 == 2 {
            roll(folder.path(), &log.0.view).unwrap();
        }
    }
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    assert_eq!(log.forget_before(9, std::time::UNIX_EPOCH).unwrap(), 0, "too young");
    assert_eq!(log.forget_before(5, soon).unwrap(), 3, "the second segment holds record 5");
    for log in [log, Log::open(folder.path()).unwrap()] {
        let kept: Vec<u64> = all(&log).into_iter().map(|(sequence, _)| sequence).collect();
        assert_eq!(kept, [3, 4, 5, 6, 7, 8]);
        assert_eq!(log.get(&key(1)).unwrap(), None);
        assert_eq!(log.locate(&key(4)).unwrap().unwrap().sequence, 4);
        assert!(verify(folder.path(), log.acknowledged_end()).unwrap().1.is_empty());
    }
    let log = Log::open(folder.path()).unwrap();
    assert_eq!(log.forget_before(99, soon).unwrap(), 6);
    assert_eq!(log.append(key(50), &[1]).unwrap(), 9);
}

#[test]
fn a_torn_tail_is_cut_and_appending_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path()).unwrap();
    for number in 0..10 {
        log.append(key(number), b"payload").unwrap();
    }
    drop(log);
    let path = segment_path(folder.path(), 0);
    let whole = fs::read(&path).unwrap();
    let last = whole.len() - (16 + 24 + 7);
    for cut in last + 1..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let log = Log::open(folder.path()).unwrap();
        assert_eq!(log.len(), 9, "cut at {cut}");
        assert_eq!(log.append(key(99), b"new").unwrap(), 9);
        assert_eq!(all(&log).last(), Some(&(9, 99)));
    }
}

#[test]
fn damage_before_the_end_is_an_error_and_never_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path()).unwrap();
    for number in 0..10 {
        log.append(key(number), b"payload").unwrap();
    }
    drop(log);
    let path = segment_path(folder.path(), 0);
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len() - 60).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        assert!(Log::open(folder.path()).is_err(), "flip at {at}");
    }
}

#[test]
fn many_writers_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(Log::open(folder.path()).unwrap());
    let writers: Vec<_> = (0..8_u64)
        .map(|writer| {
            let log = log.clone();
            thread::spawn(move || {
                for number in 0..50 {
                    log.append(key(writer * 1000 + number), b"x").unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let mut keys: Vec<u64> = all(&log).into_iter().map(|(_, key)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((keys.len(), log.len()), (400, 400));
}

#[test]
fn sealed_segments_are_searched_and_their_index_is_remade() {
    let folder = tempfile::tempdir().unwrap();
    let big = vec![1_u8; 3 << 20];
    let log = Log::open(folder.path()).unwrap();
    for number in 0..20 {
        log.append(key(number), &big).unwrap();
    }
    drop(log);
    let indexes: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "idx"))
        .collect();
    assert!(indexes.len() >= 2);
    fs::remove_file(&indexes[0]).unwrap();
    fs::write(&indexes[1], "no index").unwrap();
    let log = Log::open(folder.path()).unwrap();
    for number in 0..20 {
        assert_eq!(log.get(&key(number)).unwrap().unwrap().len(), big.len());
    }
    assert_eq!(log.get(&key(77)).unwrap(), None);
    assert_eq!(log.tail(2).unwrap().iter().map(|r| r.sequence).collect::<Vec<_>>(), [18, 19]);
    assert!(verify(folder.path(), log.acknowledged_end()).unwrap().1.is_empty());
}

#[test]
fn a_record_over_the_limit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path()).unwrap();
    let huge = vec![0; limits::LOG_RECORD_BYTES_MAX + 1];
    assert!(matches!(log.append(key(1), &huge), Err(LineageError::TooLarge { .. })));
    assert!(log.is_empty());
}

#[test]
fn the_newest_records_are_read_from_their_own_frame() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path()).unwrap();
    for number in 0..5 {
        let batch = (0..4).map(|index| (key(number * 4 + index), vec![7])).collect();
        log.append_many(batch).unwrap();
    }
    drop(log);
    let log = Log::open(folder.path()).unwrap();
    log.append(key(20), &[7]).unwrap();
    for count in 0..25 {
        let sequences: Vec<u64> = log.tail(count).unwrap().iter().map(|r| r.sequence).collect();
        assert_eq!(sequences, (21_u64.saturating_sub(count)..21).collect::<Vec<_>>(), "{count}");
    }
    let mut parts = log.acknowledged(20);
    assert!(parts.pop().unwrap().offset > frame::SEGMENT_HEADER_BYTES, "not the whole segment");
}

#[test]
fn a_frame_that_is_being_written_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path()).unwrap();
    log.append(key(1), b"whole").unwrap();
    let end = log.acknowledged_end();
    let path = segment_path(folder.path(), 0);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&frame::encode(&[(key(2), b"half".to_vec())]).0[..9]).unwrap();
    assert_eq!(verify(folder.path(), end).unwrap(), (1, Vec::new()));
    assert_eq!(verify(folder.path(), (u64::MAX, 0)).unwrap().1.len(), 1);
}
