//! The books of database and queue put together.

use domain::Partition;
use queue::producer::WriterTotals;
use store::{Accounts, Book, Books, PartitionAccount, Sent, WriterRow};
use uuid::Uuid;

fn account(partition: u16, numbers: [i64; 6]) -> PartitionAccount {
    let [accepted, recorded, deduplicated, dead_lettered, discarded, lost] = numbers;
    let position = "1-0".into();
    PartitionAccount {
        partition: Partition(partition),
        position,
        accepted,
        recorded,
        deduplicated,
        dead_lettered,
        discarded,
        lost,
    }
}

fn writer(n: u128, total: u64) -> WriterRow {
    WriterRow { writer: Uuid::from_u128(n), number: 1, total, seen_ms: 1 }
}

fn sent(totals: &[(u16, u128, u64)]) -> Vec<Sent> {
    let one = |&(partition, writer, sent): &(u16, u128, u64)| Sent {
        partition: Partition(partition),
        writer: Uuid::from_u128(writer),
        sent,
        applied: 0,
    };
    totals.iter().map(one).collect()
}

fn balance(accounts: &[PartitionAccount], writers: &[(Partition, WriterRow)], sent: &[Sent]) -> Books {
    let accounts = Accounts { partitions: accounts.to_vec(), writers: writers.to_vec(), losses: Vec::new() };
    Books::balance(&accounts, sent, 2)
}

#[test]
fn what_was_sent_and_not_applied_is_in_flight() {
    let accounts = [account(0, [10, 6, 2, 1, 1, 0]), account(1, [5, 5, 0, 0, 0, 0])];
    let writers = [(Partition(0), writer(1, 7)), (Partition(0), writer(2, 3)), (Partition(1), writer(1, 5))];
    let books = balance(&accounts, &writers, &sent(&[(0, 1, 7), (0, 2, 8), (0, 3, 4), (1, 1, 5)]));
    assert_eq!(books.partitions[0].1.in_flight, 9);
    assert_eq!(books.partitions[1].1.in_flight, 0);
    let total = "accounting: received=24 recorded=11 deduplicated=2 dead=1 discarded=1 in_flight=9 lost=0";
    assert_eq!(books.total.to_string(), total);
    assert!(books.are_good());
}

#[test]
fn a_queue_that_forgot_has_nothing_in_flight() {
    let writers = [(Partition(0), writer(1, 7))];
    let books = balance(&[account(0, [7, 7, 0, 0, 0, 0])], &writers, &sent(&[(0, 1, 2)]));
    assert_eq!(books.total, Book { received: 7, recorded: 7, ..Book::default() });
}

#[test]
fn books_that_do_not_close_in_one_partition_are_bad_even_if_the_sum_does() {
    let accounts = [account(0, [10, 9, 0, 0, 0, 0]), account(1, [5, 6, 0, 0, 0, 0])];
    let books = balance(&accounts, &[], &[]);
    assert!(books.total.closes() && !books.are_good());
    let lost = balance(&[account(0, [10, 9, 0, 0, 0, 1])], &[], &[]);
    assert!(lost.total.closes() && !lost.are_good());
}

#[test]
fn a_partition_that_no_worker_has_held_shows_what_waits_in_it() {
    let books = balance(&[], &[], &sent(&[(1, 1, 1000)]));
    assert_eq!(books.partitions.len(), 2);
    assert_eq!(books.total, Book { received: 1000, in_flight: 1000, ..Book::default() });
}

#[test]
fn what_a_new_writer_sent_and_had_applied_between_the_looks_is_in_flight() {
    let totals =
        |sent, applied| WriterTotals { partition: Partition(0), writer: Uuid::from_u128(1), sent, applied };
    let books = |before: &[WriterTotals], after: &[WriterTotals]| {
        balance(&[account(0, [0; 6])], &[], &backends::around(before, after)).total
    };
    assert_eq!(books(&[], &[totals(3, 3)]), Book { received: 3, in_flight: 3, ..Book::default() });
    assert_eq!(books(&[totals(2, 0)], &[totals(3, 3)]).in_flight, 3);
    assert_eq!(books(&[totals(3, 3)], &[totals(3, 3)]), Book::default());
}

#[test]
fn of_a_writer_the_database_forgot_the_queue_says_what_was_applied() {
    let mut forgotten = sent(&[(0, 1, 50)]);
    forgotten[0].applied = 50;
    let books = balance(&[account(0, [50, 50, 0, 0, 0, 0])], &[], &forgotten);
    assert_eq!(books.total.in_flight, 0);
}
