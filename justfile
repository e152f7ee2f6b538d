# Every recipe is one plain line that can be typed by hand.

# the main job: two prompts into a real call, heard and checked
demo:
    cargo run -- demo

# everything CI runs: formatting, lints, documentation, tests, interoperation
ci:
    bash .ci/run

# all tests; installs what they need
test:
    ./test.sh

# unit and integration tests only
unit:
    cargo test --workspace

lint:
    cargo clippy --workspace --all-targets -- -D warnings

# docs/states/*.md from the transition tests
states:
    UPDATE_DOCS=1 cargo test -p graphophone-call

# latency from playPrompt to the first RTP packet, with a bare sender beside it; fails when slow
bench:
    cargo run --release -p graphophone --example play_latency -- --check

# calls set up and torn down, and notifications delivered, per second on one core
rates:
    cargo run --release -- bench --case signalling --play --start 100 --step 100 --max 1200 --seconds 4
    cargo run --release -p graphophone --example rates -- notifications
    cargo run --release -p graphophone --example rates -- drain

# a capacity card of this machine; stop everything else first
capacity:
    cargo run --release -- bench

# what a packet and a playPrompt cost, in instructions, against tests/instructions/baseline.json
instructions:
    tests/instructions/run.py

# many random cases, others in each run: the call against its model, SIP against chaos
explore:
    PROPTEST_CASES=20000 cargo test --release -p graphophone-call -p graphophone-sip --lib -- model chaos

# all fuzz targets for an hour each; docs/fuzzing.md
fuzz seconds="3600" *targets="":
    fuzz/run.py --seconds {{seconds}} {{targets}}

# 20,000 calls of every kind: nothing is left of them
cycles:
    GRAPHOPHONE_CYCLES=20000 cargo test -p graphophone --test it -- --nocapture nothing_is_left

# 1,000 steps of the wall clock; needs libfaketime
clock:
    GRAPHOPHONE_CLOCK_STEPS=1000 cargo test -p graphophone --test it -- --ignored --nocapture clock

# a million requests beyond a limit
excess:
    GRAPHOPHONE_EXCESS=1000000 cargo test -p graphophone --test it -- --nocapture too_much

# twice the input, at most 2.3 times the instructions; needs the fuzz build and valgrind
linear:
    fuzz/run.py --seconds 1 sdp
    tests/instructions/linear.py
