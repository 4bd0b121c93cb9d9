#!/usr/bin/env bash
# Checks and times SimpleNet on this machine's GPU. README.md beside it says what each part does.
#
#     bash run.sh [PART…]        device suites bench train compare torch; all of them by default
#
# Every part has a time limit and the next one runs whatever became of it. Everything is written to results/; a line a part is added
# to summary.txt there. Exit code 0: nothing failed and nothing was left out.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

all=(device suites bench train compare torch)
parts=("$@")
[ $# -gt 0 ] || parts=("${all[@]}")
PYTHON=${PYTHON:-python3}
DEVICE=${DEVICE:-cuda}
BATCHES=${BATCHES:-1,16,64}
REPEATS=${REPEATS:-50}

here=$PWD
results=$here/results
data=data/steel_gear
lite=models/efficientnet-lite0/model.safetensors
wrn_weights=models/wide_resnet50_2.safetensors
wrn=models/wide-resnet50-2/model.safetensors
mkdir -p "$results"
summary=$results/summary.txt
printf '== %s: %s\n' "$(date -u +%FT%TZ)" "${parts[*]}" >>"$summary"
failed=0 left_out=0

for part in "${parts[@]}"; do
    case " ${all[*]} " in
        *" $part "*) ;;
        *) echo "no part $part; there are: ${all[*]}" >&2; exit 2 ;;
    esac
done

tell() { # what seconds name words
    printf '%-4s %5ss  %-28s %s\n' "$1" "$2" "$3" "${4:-}" | tee -a "$summary"
}

# Runs a command with a limit in seconds; its words go to results/NAME.log.
run() { # name limit command…
    local name=$1 limit=$2 log=$results/$1.log start=$SECONDS code
    shift 2
    timeout -k 10 "$limit" "$@" >"$log" 2>&1 </dev/null
    code=$?
    case $code in
        0) tell PASS $((SECONDS - start)) "$name" "${note:-}" ;;
        124 | 137) tell FAIL $((SECONDS - start)) "$name" "stopped after $limit s"; failed=$((failed + 1)) ;;
        *)
            tell FAIL $((SECONDS - start)) "$name" "exit code $code; the end of $log:"
            tail -n 5 "$log" | sed 's/^/        /' | tee -a "$summary"
            failed=$((failed + 1))
            ;;
    esac
    return $code
}

skip() { # name reason
    tell SKIP 0 "$1" "$2"
    left_out=$((left_out + 1))
}

asked() { case " ${parts[*]} " in *" $1 "*) return 0 ;; esac; return 1; }

# ---- the programs
if [ ! -x programs/simplenet ]; then
    mkdir -p programs
    tar -C programs -xJf programs.tar.xz 2>/dev/null ||
        "$PYTHON" -c 'import tarfile; tarfile.open("programs.tar.xz").extractall("programs")' ||
        { echo "programs.tar.xz cannot be unpacked: needs xz or python3" >&2; exit 2; }
fi
simplenet=$here/programs/simplenet

# The driver's library and cuBLAS, wherever they are; PyTorch below gets its own way back.
before=${LD_LIBRARY_PATH:-}
of_python=$("$PYTHON" - 2>/dev/null <<'PY' || true
import glob, os
try:
    import nvidia
    print(":".join(d for p in nvidia.__path__ for d in sorted(glob.glob(os.path.join(p, "*", "lib")))))
except ImportError:
    pass
PY
)
LD_LIBRARY_PATH=$of_python:/usr/local/cuda/lib64:/usr/local/nvidia/lib64:/usr/local/nvidia/lib:/usr/lib/wsl/lib:$before
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH#:}

# ---- parts
if asked device; then
    run device 60 nvidia-smi && nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm,power.limit \
        --format=csv,noheader | tee "$results/device.csv" | sed 's/^/        /' | tee -a "$summary"
    { uname -a; grep -m1 'model name' /proc/cpuinfo; nproc; echo "LD_LIBRARY_PATH=$LD_LIBRARY_PATH"; } >>"$results/device.log" 2>&1
    run starts 30 "$simplenet" --version
fi

if asked suites; then
    # A suite without a GPU passes on the CPU alone: that is no pass here.
    on_gpu='set -o pipefail; "$0" --nocapture --test-threads 4 2>&1 | tee "$1" || exit; ! grep -m1 "skipped: no GPU" "$1"'
    for suite in programs/suites/*; do
        name=suite-$(basename "$suite")
        run "$name" 150 bash -c "$on_gpu" "$suite" "$results/$name.words"
        grep '^test result' "$results/$name.log" | sed 's/^/        /' | tee -a "$summary"
    done
fi

# WideResNet-50-2 with random weights: drawn here, its head trained for an epoch on the CPU.
if { asked bench || asked torch; } && [ ! -f "$wrn_weights" ]; then
    run weights 180 "$PYTHON" make_weights.py wide_resnet50_2.json "$wrn_weights"
fi
if asked bench && [ -f "$wrn_weights" ] && [ ! -f "$wrn" ]; then
    run wide-resnet50-2 240 "$simplenet" train --device cpu --data "$data" --backbone wide-resnet50-2 --weights "$wrn_weights" --preset paper \
        --epochs 1 --no-feature-cache --out "$(dirname "$wrn")"
fi

if asked bench; then
    for precision in f32 f16; do
        for model in "$lite" "$wrn"; do
            name=bench-$(basename "$(dirname "$model")")-$precision
            if [ ! -f "$model" ]; then skip "$name" "there is no $model"; continue; fi
            run "$name" 90 "$simplenet" bench --model "$model" --input "$data/test" --device "$DEVICE" --batch "$BATCHES" \
                --precision "$precision" --repeats "$REPEATS" --json "$results/$name.json"
        done
    done
fi

if asked train; then
    note="all of it: start, features, head, model file" run "train-$DEVICE" 180 "$simplenet" train --data "$data" --device "$DEVICE" \
        --no-feature-cache --fresh --out "$results/trained-$DEVICE"
fi

evaluate() { # name model device precision
    run "$1" 120 "$simplenet" eval --model "$2" --data "$data" --device "$3" --precision "$4" --json "$results/$1.json" \
        --output "$results/$1"
}
compare() { # name wanted got scores auroc
    if [ ! -f "$results/$2/predictions.jsonl" ] || [ ! -f "$results/$3/predictions.jsonl" ]; then
        skip "$1" "an evaluation is missing"
        return
    fi
    run "$1" 30 "$PYTHON" compare.py "$results/$2" "$results/$3" --scores "$4" --auroc "$5" &&
        sed 's/^/        /' "$results/$1.log" | tee -a "$summary"
}
if asked compare; then
    evaluate eval-cpu-f32 "$lite" cpu f32
    for precision in f32 f16; do
        evaluate "eval-$DEVICE-$precision" "$lite" "$DEVICE" "$precision"
    done
    # f32: sums in another order. f16: ten bits of mantissa; of 51 photographs one pair that changes places is 0.0018.
    compare compare-f32 eval-cpu-f32 "eval-$DEVICE-f32" 0.001 0.002
    compare compare-f16 eval-cpu-f32 "eval-$DEVICE-f16" 0.05 0.01
    # A model trained on the GPU is another model (its sums are in another order): as good, not the same.
    if [ -f "$results/trained-$DEVICE/model.safetensors" ]; then
        evaluate eval-trained "$results/trained-$DEVICE/model.safetensors" cpu f32
        compare compare-trained eval-cpu-f32 eval-trained 10 0.05
    else
        skip compare-trained "part train has left no model"
    fi
fi

if asked torch; then
    if [ ! -f "$wrn_weights" ]; then
        skip torch "there are no weights"
    elif ! "$PYTHON" -c 'import torch' 2>/dev/null; then
        skip torch "$PYTHON has no PyTorch"
    else
        LD_LIBRARY_PATH=$before run torch 280 "$PYTHON" gpu_engines.py --weights "$wrn_weights" --device "$DEVICE" --batch "$BATCHES" \
            --json "$results/torch.json" && sed 's/^/        /' "$results/torch.log" | tee -a "$summary"
    fi
    if [ -f "$results/torch.json" ]; then
        run ratios 30 "$PYTHON" ratios.py "$results"
        sed 's/^/        /' "$results/ratios.log" | tee -a "$summary"
    else
        skip ratios "PyTorch has left no numbers"
    fi
fi

{
    echo
    if [ $failed = 0 ] && [ $left_out = 0 ]; then echo "PASS: all of: ${parts[*]}"; else
        echo "FAIL: $failed failed, $left_out left out, of: ${parts[*]}"
    fi
} | tee -a "$summary"
[ $failed = 0 ] && [ $left_out = 0 ]
