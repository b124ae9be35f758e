use super::*;
#[test]
#[ignore]
fn perf() {
    let mut world = World::new(1);
    world.write(0, &put(r#"{"name":"Ship to Berlin","status":"open","qty":12,"price":9.5,"address":{"city":"Berlin","zip":"10115","street":"Torstr. 1"},"tags":["a","b","c"],"note":null,"ok":true}"#));
    let row = world.nodes[0].encode();
    eprintln!("row {} view {} change {}", row.len(), world.nodes[0].view_bytes().len(), world.made[0].change.bytes().len());
    let state = EntityState::decode(&row).unwrap();
    let n = 20_000u32;
    let time = |name: &str, f: &mut dyn FnMut()| { let t = std::time::Instant::now(); for _ in 0..n { f(); } eprintln!("{name}: {:?}", t.elapsed() / n); };
    time("decode", &mut || { std::hint::black_box(EntityState::decode(&row).unwrap()); });
    time("encode", &mut || { std::hint::black_box(state.encode()); });
    time("view_bytes", &mut || { std::hint::black_box(state.view_bytes()); });
    time("clone", &mut || { std::hint::black_box(state.clone()); });
    time("contribution", &mut || { std::hint::black_box(state.contribution("c","e")); });
    let p = patch(r#"{"status":"sent"}"#);
    time("plan patch", &mut || { let mut w = Writer::new(&state, feed(0), Hlc::default()); w.write(&p).unwrap(); std::hint::black_box(w.state()); });
    time("plan+finish", &mut || { let mut w = Writer::new(&state, feed(0), Hlc::default()); w.write(&p).unwrap(); std::hint::black_box(w.finish(&Provenance::default(), 1).unwrap()); });
    let full = state.view();
    let mut changed = full.clone();
    if let Json::Object(f) = &mut changed { f.insert("status".into(), Json::String("sent".into())); }
    let w2 = Write::Put { value: changed, base: None };
    time("plan put", &mut || { let mut w = Writer::new(&state, feed(0), Hlc::default()); w.write(&w2).unwrap(); std::hint::black_box(w.state()); });
    let mut w = Writer::new(&state, feed(0), Hlc::default()); w.write(&p).unwrap();
    let (c, _) = w.finish(&Provenance::default(), 1).unwrap().unwrap();
    eprintln!("one-field change {}", c.bytes().len());
    time("change parse", &mut || { std::hint::black_box(Change::parse(c.bytes(), feed(0)).unwrap()); });
    let past = state.clock().clone();
    time("clone+gate+apply", &mut || { let mut s = state.clone(); s.gate(&c, &past).unwrap(); s.apply(&c, &past, &Provenance::default(), 1); std::hint::black_box(s); });
    let bytes = state.view_bytes();
    time("json parse", &mut || { std::hint::black_box(Json::parse(&bytes).unwrap()); });
    let big: Vec<String> = (0..20000).map(|i| i.to_string()).collect();
    let bigput = put(&format!(r#"{{"l":[{}]}}"#, big.join(",")));
    let t = std::time::Instant::now();
    let empty = EntityState::new(); let mut w = Writer::new(&empty, feed(0), Hlc::default()); w.write(&bigput).unwrap(); let (c, _) = w.finish(&Provenance::default(), 1).unwrap().unwrap();
    eprintln!("20k list write {:?} change {}", t.elapsed(), c.bytes().len());
    let t = std::time::Instant::now();
    let mut e = EntityState::new(); e.apply(&c, &Clock::new(), &Provenance::default(), 1);
    eprintln!("20k list apply {:?}", t.elapsed());
}
