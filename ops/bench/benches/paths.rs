//! `cargo bench`: the pure paths in time. `make guard` counts their instructions.

#![allow(clippy::expect_used, missing_docs)]

use bench::paths::{Inputs, Path};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn paths(criterion: &mut Criterion) {
    let inputs = Inputs::new().expect("our own events");
    for path in Path::ALL {
        let mut group = criterion.benchmark_group(path.name());
        group.throughput(Throughput::Elements(inputs.times(path)));
        group.bench_function("events", |bencher| {
            bencher.iter(|| inputs.run(path).expect("our own events"));
        });
        group.finish();
    }
}

criterion_group!(all, paths);
criterion_main!(all);
