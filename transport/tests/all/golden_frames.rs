//! Frames are final: these bytes may never change. `GOLDEN_WRITE=1` writes the file if it does not exist yet.

use std::fmt::Write as _;
use std::path::PathBuf;

use tombolo_crdt::feed::{Position, Range, Signature};
use tombolo_crdt::rules::Contact;
use tombolo_crdt::{ChainHash, Digest, FeedId, NodeId, SpaceId};
use tombolo_transport::frame::{
    FeedHave, Frame, FrontierPage, Have, Hello, Join, JoinRefusal, PROTOCOL_VERSION, Probe, Ranges, RulesRanges,
    Summary,
};

fn frames() -> Vec<Frame> {
    let space = SpaceId::from_bytes([1; 32]);
    let (feed, chain) = (FeedId::from_bytes([2; 16]), ChainHash::from_bytes([3; 32]));
    let (frontier, state) = (Digest::from_bytes([4; 32]), Digest::from_bytes([5; 32]));
    let contact = Contact { name: "berlin".into(), addrs: vec!["198.51.100.7:7700".into()] };
    let position = Position { feed, seq: 300, chain };
    let signature = Signature::from_bytes(&[6; 64]);
    let entry = serde_bytes::ByteBuf::from(vec![1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let range = Range { opening: vec![7, 8], from: 9, previous: chain, entries: vec![entry], seal: signature };
    let counter = 2;
    let (version, process, wall_millis) = (PROTOCOL_VERSION, [8; 16], 1_800_000_000_000);
    vec![
        Frame::Hello(Hello { version, contact: contact.clone(), process, counter, wall_millis, ext: Vec::new() }),
        Frame::Rules(space, frontier),
        Frame::RulesDone,
        Frame::Join(Join { space, key: [9; 32], signature, contact }),
        Frame::JoinRefused(space, JoinRefusal::Used),
        Frame::RulesFrontier(space, vec![position]),
        Frame::RulesRanges(RulesRanges { space, ranges: vec![range.clone()], last: true }),
        Frame::Summary(Summary { space, frontier, state, frozen: 0, common: Some(frontier) }),
        Frame::Frontier(FrontierPage { space, base: None, positions: vec![position], last: true }),
        Frame::FrontierRequest(space),
        Frame::Have(Have {
            space,
            number: 7,
            feeds: vec![FeedHave { feed, settled: 300, held: vec![(302, 310)] }],
            frontier,
            state,
        }),
        Frame::Ranges(Ranges { space, number: 7, ranges: vec![range] }),
        Frame::Refused(space, vec![(feed, 300, 3)]),
        Frame::Probe(Probe { space, feed, seq: 300, chain: Some(Some(chain)) }),
        Frame::Bye(NodeId::from_bytes([10; 32])),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("text");
        hex
    })
}

/// The golden file, written with this content if it is to be and is not there yet.
fn golden(name: &str, content: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/all/golden").join(name);
    if !path.exists() && std::env::var_os("GOLDEN_WRITE").is_some() {
        std::fs::write(&path, content).expect("written");
    }
    std::fs::read_to_string(&path).expect("the golden file")
}

#[test]
fn every_frame_has_its_bytes() {
    let mut text = String::new();
    for frame in frames() {
        let bytes = frame.encode();
        writeln!(text, "{} {}", frame.kind_name(), hex(&bytes)).expect("text");
        assert_eq!(Frame::decode(&bytes), Ok(Some(frame)));
    }
    assert_eq!(text, golden("frames.txt", &text));
}

/// Which block a packer makes is its own affair. That this one is read, and as these entries, is final.
#[test]
fn a_packed_frame_is_read() {
    let entry = |n: u8| serde_bytes::ByteBuf::from([[7; 40], [n; 40]].concat());
    let range = Range {
        opening: vec![7, 8],
        from: 9,
        previous: ChainHash::from_bytes([3; 32]),
        entries: (0..30).map(entry).collect(),
        seal: Signature::from_bytes(&[6; 64]),
    };
    let frame = Frame::Ranges(Ranges { space: SpaceId::from_bytes([1; 32]), number: 7, ranges: vec![range] });
    let packed = hex(&frame.encode_packed());
    let packed = golden("packed.txt", &packed);
    let digits = packed.trim().as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
    let bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect();
    assert_eq!(bytes.get(..2), Some(&[12, 3][..]));
    assert_eq!(Frame::decode(&bytes), Ok(Some(frame)));
}

#[test]
fn no_byte_string_makes_the_codec_panic() {
    for frame in frames() {
        let bytes = frame.encode();
        for at in 0..bytes.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut broken = bytes.clone();
                broken[at] = value;
                drop(Frame::decode(&broken));
            }
            drop(Frame::decode(&bytes[..at]));
        }
    }
}
