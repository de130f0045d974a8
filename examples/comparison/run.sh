#!/bin/sh
# The runs of docs/comparison.md, after npm run build: sh examples/comparison/run.sh FOLDER [SEEDS]
# A start is a run whose budget pays for no iteration; the others begin from its policy. One file per start and seed, seeds
# outermost, so that a run that is cut short leaves fewer seeds, not fewer methods.
set -e
out=${1:?usage: run.sh FOLDER [SEEDS]}
seeds=${2:-0 1 2 3 4}
here=examples/comparison
mkdir -p "$out"
export STEPCREDIT_NUM_THREADS=1
train="node dist/cli/main.js train"
compare="node dist/cli/main.js compare"
bench="node --import ./bench/register.mjs bench/comparison"

# ── starts
for slip in 90 75 35; do
  $train $here/chain.yaml --set name=h$slip --set repairFormat=backward --set warmStartRepairs=hindsight \
    --set warmStartSteps=1600 --set warmStartSlip=0.$slip --set budgetTokens=1
done
$train $here/chain.yaml --set name=f90 --set repairFormat=hinted --set warmStartRepairs=hindsight --set warmStartSteps=1600 --set budgetTokens=1
$train $here/chain.yaml --set name=n90 --set warmStartRepairs=none --set warmStartSteps=1600 --set budgetTokens=1
for slip in 90 75 35; do
  $train $here/chain.yaml --set name=v$slip --set warmStartSlip=0.$slip --set budgetTokens=1
done
$train $here/swaps.yaml --set name=w90 --set warmStartNoise=0.9 --set budgetTokens=1
# The same with repairs taught by hindsight, written forward after the answer.
$train $here/swaps-repairs.yaml --set name=hw90 --set warmStartNoise=0.9 --set warmStartRepairs=hindsight --set warmStartSteps=1600 \
  --set budgetTokens=1

# ── rates and epochs, on seeds 10 and 11 and other held-out problems
rates="o1e4x4:method=outcome,lr=0.0001,epochs=4 o3e4x2:method=outcome,lr=0.0003,epochs=2 \
  o6e4x2:method=outcome,lr=0.0006,epochs=2 p3e4x4:method=positiveOnly,lr=0.0003,epochs=4 p6e4x4:method=positiveOnly,lr=0.0006,epochs=4"
more="o3e4x4:method=outcome,lr=0.0003,epochs=4 o1e3x2:method=outcome,lr=0.001,epochs=2"
$compare $here/chain.yaml $rates $more --set policy=runs/h75/policy --set repairFormat=backward --set warmStartSeed=107 \
  --seeds 10,11 --json "$out/tuning.h75.json"
baselines="m3e5x2:method=monteCarlo,problemsPerIteration=8,lr=0.00003,epochs=2 m1e4x2:method=monteCarlo,problemsPerIteration=8,lr=0.0001,epochs=2 \
  m3e4x2:method=monteCarlo,problemsPerIteration=8,lr=0.0003,epochs=2 t1e4x2:method=tree,groupSize=4,branches=4,lr=0.0001,epochs=2 \
  t3e4x2:method=tree,groupSize=4,branches=4,lr=0.0003,epochs=2 t6e4x2:method=tree,groupSize=4,branches=4,lr=0.0006,epochs=2"
$compare $here/chain.yaml $baselines --set policy=runs/h90/policy --set repairFormat=backward --set warmStartSeed=107 \
  --set evaluateEvery=120000 --seeds 10,11 --json "$out/tuning.h90.json"
$compare $here/chain.yaml $rates $baselines --set policy=runs/h35/policy --set repairFormat=backward --set warmStartSeed=107 \
  --set evaluateEvery=120000 --seeds 10,11 --json "$out/tuning.h35.json"
verified() { # START VARIANTS
  start=$1
  shift
  $compare $here/chain.yaml $rates "$@" --set policy=runs/$start/policy --set repairFormat=forward --set warmStartSeed=107 \
    --set evaluateEvery=120000 --seeds 10,11 --json "$out/tuning.$start.json"
}
pairs=method=iop,repair=true
verified v75 i6e4x4:$pairs i6e4x4-half:$pairs,penaltyWeight=0.5 i6e4x4-quarter:$pairs,penaltyWeight=0.25 \
  i6e4x4-rows256:$pairs,rowsPerBatch=256 ip6e4x4:$pairs,contrast=positive
slower=method=iop,repair=true,lr=0.0003
verified v35 i3e4x4:$slower ir3e4x4:$slower,replay=both ip3e4x4:$slower,contrast=positive ipr3e4x4:$slower,replay=both,contrast=positive

# ── methods
full=repair=true,repairsPerGroup=4,repairPlausibility=0.003
quarter=method=iop,$full,replay=both,penaltyWeight=0.25
from() { # START FORMAT SEED VARIANTS: chain arithmetic from a start
  start=$1 format=$2 seed=$3
  shift 3
  $compare $here/chain.yaml "$@" --set policy=runs/$start/policy --set repairFormat=$format --set evaluateEvery=60000 \
    --seeds $seed --json "$out/methods.$start.$seed.json"
}
for seed in $seeds; do
  from h75 backward $seed outcome:lr=0.0003,epochs=2 positiveOnly:lr=0.0003,epochs=4 \
    iop-without-repair:method=iop,repair=false,lr=0.0003,epochs=4 iop:$full,replay=both \
    positiveOnly-with-replay:method=positiveOnly,replay=solutions,lr=0.0003,epochs=4 \
    iop-positive:method=iop,$full,replay=both,contrast=positive iop-quarter:$quarter \
    monteCarlo:problemsPerIteration=8,lr=0.0001,epochs=2 tree:groupSize=4,branches=4,lr=0.0003,epochs=2
  from h35 backward $seed outcome:lr=0.0003,epochs=2 positiveOnly \
    iop-without-repair:method=iop,repair=false iop:$full,replay=both \
    iop-positive:method=iop,$full,replay=both,contrast=positive positiveOnly-with-replay:method=positiveOnly,replay=solutions \
    iop-quarter:$quarter monteCarlo:problemsPerIteration=8,lr=0.0001,epochs=2 \
    monteCarlo-faster:method=monteCarlo,problemsPerIteration=8,lr=0.0003,epochs=2 \
    tree:groupSize=4,branches=4,lr=0.0003,epochs=2
  from h90 backward $seed outcome:lr=0.0006,epochs=2 positiveOnly iop-without-repair:method=iop,repair=false \
    iop:$full,replay=both iop-without-replay:method=iop,$full positiveOnly-with-replay:method=positiveOnly,replay=solutions \
    iop-positive:method=iop,$full,replay=both,contrast=positive \
    outcome-slower:method=outcome,lr=0.0003,epochs=2 outcome-slowest:method=outcome,lr=0.0001,epochs=4 \
    positiveOnly-slower:method=positiveOnly,lr=0.0003,epochs=4 iop-quarter:$quarter \
    monteCarlo:problemsPerIteration=8,lr=0.0001,epochs=2 tree:groupSize=4,branches=4,lr=0.0003,epochs=2
  from v90 forward $seed outcome:lr=0.0006,epochs=2 positiveOnly iop-with-verified-pairs:method=iop,repair=true \
    iop-with-verified-pairs-positive:method=iop,repair=true,contrast=positive
  from v75 forward $seed outcome:lr=0.0006,epochs=2 positiveOnly iop-with-verified-pairs:method=iop,repair=true \
    iop-with-verified-pairs-positive:method=iop,repair=true,contrast=positive iop-quarter:method=iop,repair=true,penaltyWeight=0.25
  from v35 forward $seed outcome:lr=0.0003,epochs=2 positiveOnly:lr=0.0003,epochs=4 \
    iop-with-verified-pairs:method=iop,repair=true iop-with-verified-pairs-positive:method=iop,repair=true,contrast=positive \
    iop-slower-with-replay:$slower,replay=both \
    positiveOnly-with-replay:method=positiveOnly,lr=0.0003,replay=solutions
  from f90 hinted $seed outcome:lr=0.0006,epochs=2 positiveOnly \
    iop:repair=true,repairsPerGroup=4,repairPlausibility=0.01,replay=both \
    iop-without-replay:method=iop,repair=true,repairsPerGroup=4,repairPlausibility=0.01 \
    iop-without-filter:method=iop,repair=true,repairsPerGroup=4
  from n90 forward $seed outcome:lr=0.0006,epochs=2 positiveOnly iop-without-repair:method=iop,repair=false
  $compare $here/swaps.yaml outcome:lr=0.0003,epochs=2 outcome-faster:method=outcome,lr=0.0006,epochs=2 positiveOnly \
    iop-siblings:method=iop,search=none iop-search:method=iop,search=gallop iop-bisect:method=iop,search=bisect,searchProbes=4 \
    iop-bisect-positive:method=iop,search=bisect,searchProbes=4,contrast=positive \
    iop-bisect-subsequence:method=iop,search=bisect,searchProbes=4,tokenDiff=subsequence \
    iop-quarter:method=iop,search=bisect,searchProbes=4,penaltyWeight=0.25 \
    monteCarlo:problemsPerIteration=8,lr=0.0001,epochs=2 \
    --set policy=runs/w90/policy --set evaluateEvery=60000 --seeds $seed --json "$out/methods.w90.$seed.json"
  $compare $here/swaps-repairs.yaml outcome:lr=0.0003,epochs=2 positiveOnly \
    iop-siblings:method=iop,repair=false,search=none \
    iop:$full,replay=both,search=none \
    iop-positive:method=iop,$full,replay=both,search=none,contrast=positive iop-quarter:$quarter,search=none \
    --set policy=runs/hw90/policy --set evaluateEvery=60000 --seeds $seed --json "$out/methods.hw90.$seed.json"
done

# ── parts
small="--set policy=runs/h75/policy --set repairFormat=backward --set budgetTokens=120000 --set evaluateEvery=60000"
iop="method=iop,$full"
$compare $here/chain.yaml iop:$iop,replay=both penalty-step:$iop,replay=both,penalty=step \
  penalty-suffix:$iop,replay=both,penalty=suffix only-positive:$iop,replay=both,contrast=positive \
  only-negative:$iop,replay=both,contrast=negative replay-none:$iop replay-solutions:$iop,replay=solutions \
  replay-repairs:$iop,replay=repairs no-filter:method=iop,repair=true,repairsPerGroup=4,replay=both \
  diff-subsequence:$iop,replay=both,tokenDiff=subsequence $small --seeds 0,1,2,3,4 --json "$out/ablation.h75.json"
$bench/hindsight-causes.ts $here/chain.yaml "$out/causes.h75.json" 0,1,2,3,4 whole,hidden,alone policy=runs/h75/policy \
  repairFormat=backward repairsPerGroup=4 repairPlausibility=0.003 replay=both budgetTokens=120000 evaluateEvery=60000

# ── who names the right step
for start in h90 h75 h35; do
  $bench/identify.ts $here/chain.yaml $start "$out/identify.$start.json" policy=runs/$start/policy repairFormat=backward
done
$bench/identify.ts $here/chain.yaml v90 "$out/identify.v90.json" policy=runs/v90/policy repairFormat=forward
$bench/identify.ts $here/swaps.yaml w90 "$out/identify.w90.json" policy=runs/w90/policy

$bench/collect.ts "$out" "$(git describe --always --dirty)" "$(date +%F)"
