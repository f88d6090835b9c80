//! The loop that measures multiply-adds: it does what it counts, and nothing else.

use crate::subject::Subject;
use crate::subjects::subjects;
use sawmill_launch::MultiplyAdds;

fn lanes(subject: &Subject) -> u8 {
    u8::try_from(subject.target.lanes(32)).expect("few lanes")
}

#[test]
fn the_loop_counts_its_operations_and_reaches_the_fixed_point() {
    for subject in &subjects() {
        let lanes = lanes(subject);
        let mut meter = MultiplyAdds::new(subject.generator.as_ref(), lanes).expect("compiles");
        assert_eq!(meter.run(1000), 1000 * 2 * 12 * 8 * u64::from(lanes));
        let sums = meter.sums();
        assert_eq!(sums.len(), 12 * usize::from(lanes));
        // 2 - 0.999^n, for n = 8000.
        assert!(sums.iter().all(|value| (value - 1.999_665_4).abs() < 1e-3), "{}: {sums:?}", subject.name());
    }
}

#[test]
fn nothing_but_arithmetic_is_between_steps() {
    for subject in &subjects() {
        let function = MultiplyAdds::chains(lanes(subject)).expect("sound");
        let (_, text) = subject.generator.texts(&function).expect("compiles").pop().expect("the assembly");
        let steps = text.lines().filter(|line| line.contains("vfmadd") || line.contains("addps")).count();
        let moves = text.lines().filter(|line| line.contains("mova") || line.contains("movup")).count();
        assert!(cfg!(not(target_arch = "x86_64")) || steps >= 96 && moves < steps / 2, "{text}");
    }
}
