#!/bin/sh
# The runs of docs/comparison.md, after npm run build: sh examples/comparison/run.sh FOLDER [SEEDS]
# A start is a run whose budget pays for no iteration; the others begin from its policy. One file per start and seed, seeds
# outermost, so that a run that is cut short leaves fewer seeds, not fewer methods. What a failure pays has its default of a
# quarter, and all of it where a name ends in full-penalty, and wherever settings were chosen.
set -e
out=${1:?usage: run.sh FOLDER [SEEDS]}
seeds=${2:-0 1 2 3 4}
here=examples/comparison
mkdir -p "$out"
export STEPCREDIT_NUM_THREADS=1
train="node dist/cli/main.js train"
compare="node dist/cli/main.js compare"
bench="node --import ./bench/register.mjs bench/comparison"
all=penaltyWeight=1

# ── starts
# Half of the pairs by hindsight do not show the failed attempt; where a name ends in shown, all pairs do.
hindsight="--set warmStartRepairs=hindsight --set warmStartSteps=1600 --set budgetTokens=1"
half="$hindsight --set warmStartBlanked=0.5"
shown="$hindsight --set warmStartBlanked=0"
for slip in 90 75 35; do
  $train $here/chain.yaml --set name=h$slip $half --set repairFormat=backward --set warmStartSlip=0.$slip
  $train $here/chain.yaml --set name=h$slip-shown $shown --set repairFormat=backward --set warmStartSlip=0.$slip
done
# The same from other seeds: starts differ.
another() { # SLIP SEED
  with="--set repairFormat=backward --set warmStartSlip=0.$1 --set warmStartSeed=$2"
  $train $here/chain.yaml --set name=h$1-seed$2 $half $with
  $train $here/chain.yaml --set name=h$1-seed$2-shown $shown $with
}
another 90 8
another 90 9
another 35 8
$train $here/chain.yaml --set name=f90 $half --set repairFormat=hinted
for slip in 90 35; do
  $train $here/chain.yaml --set name=n$slip --set warmStartRepairs=none --set warmStartSteps=1600 --set warmStartSlip=0.$slip \
    --set budgetTokens=1
done
# The same with room for a prompt that shows the answer, which these formats need.
for format in backward hinted; do
  $train $here/chain.yaml --set name=n35-$format --set repairFormat=$format --set warmStartRepairs=none --set warmStartSteps=1600 \
    --set warmStartSlip=0.35 --set budgetTokens=1
done
for slip in 90 75 35; do
  $train $here/chain.yaml --set name=v$slip --set warmStartSlip=0.$slip --set budgetTokens=1
done
$train $here/swaps.yaml --set name=w90 --set warmStartNoise=0.9 --set budgetTokens=1
# The same with repairs taught by hindsight, written forward after the answer.
$train $here/swaps-repairs.yaml --set name=hw90 $half --set warmStartNoise=0.9
# The same with critiques, which name the first step of a failed attempt that differs from one that passed.
$train $here/swaps-critiques.yaml --set name=cw90 --set warmStartNoise=0.9 --set warmStartSteps=1600 --set warmStartCritiques=true \
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
verified v75 i6e4x4:$pairs,$all i6e4x4-half:$pairs,penaltyWeight=0.5 i6e4x4-quarter:$pairs,penaltyWeight=0.25 \
  i6e4x4-rows256:$pairs,$all,rowsPerBatch=256 ip6e4x4:$pairs,contrast=positive
slower=method=iop,repair=true,lr=0.0003
verified v35 i3e4x4:$slower,$all ir3e4x4:$slower,$all,replay=both ip3e4x4:$slower,contrast=positive \
  ipr3e4x4:$slower,replay=both,contrast=positive

# ── methods
hinted=method=iop,repair=true,repairsPerGroup=4,repairPlausibility=0.003
iop=$hinted,replay=both
both() { # NAME SETTINGS: a variant at the default weight of penalties, and with all of them
  echo "$1:$2 $1-full-penalty:$2,$all"
}
from() { # START FORMAT SEED VARIANTS: chain arithmetic from a start
  start=$1 format=$2 seed=$3
  shift 3
  $compare $here/chain.yaml "$@" --set policy=runs/$start/policy --set repairFormat=$format --set evaluateEvery=60000 \
    --seeds $seed --json "$out/methods.$start.$seed.json"
}
values=method=monteCarlo,problemsPerIteration=8
replayed=method=positiveOnly,replay=solutions
for seed in $seeds; do
  from h75 backward $seed outcome:lr=0.0003,epochs=2 positiveOnly:lr=0.0003,epochs=4 positiveOnly-with-replay:$replayed,lr=0.0003,epochs=4 \
    monteCarlo:$values,lr=0.0001,epochs=2 tree:groupSize=4,branches=4,lr=0.0003,epochs=2 $(both iop $iop) \
    iop-positive:$iop,contrast=positive $(both iop-without-repair method=iop,repair=false,lr=0.0003,epochs=4)
  from h35 backward $seed outcome:lr=0.0003,epochs=2 positiveOnly positiveOnly-with-replay:$replayed \
    monteCarlo:$values,lr=0.0001,epochs=2 monteCarlo-faster:$values,lr=0.0003,epochs=2 \
    tree:groupSize=4,branches=4,lr=0.0003,epochs=2 $(both iop $iop) iop-positive:$iop,contrast=positive \
    $(both iop-without-repair method=iop,repair=false)
  from h90 backward $seed outcome:lr=0.0006,epochs=2 outcome-slower:method=outcome,lr=0.0003,epochs=2 \
    outcome-slowest:method=outcome,lr=0.0001,epochs=4 positiveOnly positiveOnly-slower:method=positiveOnly,lr=0.0003,epochs=4 \
    positiveOnly-with-replay:$replayed monteCarlo:$values,lr=0.0001,epochs=2 tree:groupSize=4,branches=4,lr=0.0003,epochs=2 \
    $(both iop $iop) iop-positive:$iop,contrast=positive $(both iop-without-repair method=iop,repair=false) \
    $(both iop-without-replay $hinted)
  from h75-shown backward $seed outcome:lr=0.0003,epochs=2 positiveOnly:lr=0.0003,epochs=4 \
    positiveOnly-with-replay:$replayed,lr=0.0003,epochs=4 iop:$iop
  from h35-shown backward $seed outcome:lr=0.0003,epochs=2 positiveOnly positiveOnly-with-replay:$replayed iop:$iop
  from h90-shown backward $seed outcome-slower:method=outcome,lr=0.0003,epochs=2 positiveOnly \
    positiveOnly-slower:method=positiveOnly,lr=0.0003,epochs=4 positiveOnly-with-replay:$replayed iop:$iop
  from v90 forward $seed outcome:lr=0.0006,epochs=2 positiveOnly $(both iop-with-verified-pairs $pairs) \
    iop-with-verified-pairs-positive:$pairs,contrast=positive
  from v75 forward $seed outcome:lr=0.0006,epochs=2 positiveOnly $(both iop-with-verified-pairs $pairs) \
    iop-with-verified-pairs-positive:$pairs,contrast=positive
  from v35 forward $seed outcome:lr=0.0003,epochs=2 positiveOnly:lr=0.0003,epochs=4 positiveOnly-with-replay:$replayed,lr=0.0003 \
    $(both iop-with-verified-pairs $pairs) iop-with-verified-pairs-positive:$pairs,contrast=positive \
    $(both iop-slower-with-replay $slower,replay=both)
  plausible=method=iop,repair=true,repairsPerGroup=4,repairPlausibility=0.01
  from f90 hinted $seed outcome:lr=0.0006,epochs=2 positiveOnly $(both iop $plausible,replay=both) \
    $(both iop-without-replay $plausible) $(both iop-without-filter method=iop,repair=true,repairsPerGroup=4)
  # Repairs were never taught: what replay teaches is all.
  unfiltered=method=iop,repair=true,repairsPerGroup=4,replay=both
  solutions=$hinted,replay=solutions
  from n90 forward $seed outcome:lr=0.0006,epochs=2 positiveOnly positiveOnly-with-replay:$replayed iop:$iop \
    iop-without-filter:$unfiltered $(both iop-without-repair method=iop,repair=false)
  from n35 forward $seed positiveOnly positiveOnly-with-replay:$replayed iop:$iop iop-with-replay-of-solutions:$solutions \
    iop-without-repair-with-replay:method=iop,repair=false,replay=solutions iop-without-filter:$unfiltered \
    iop-positive:$iop,contrast=positive
  from n35-backward backward $seed positiveOnly-with-replay:$replayed iop:$iop iop-with-replay-of-solutions:$solutions \
    iop-without-filter:$unfiltered
  from n35-hinted hinted $seed positiveOnly-with-replay:$replayed iop:$iop
  bisect=method=iop,search=bisect,searchProbes=4
  $compare $here/swaps.yaml outcome:lr=0.0003,epochs=2 outcome-faster:method=outcome,lr=0.0006,epochs=2 positiveOnly \
    monteCarlo:$values,lr=0.0001,epochs=2 $(both iop-bisect $bisect) iop-bisect-positive:$bisect,contrast=positive \
    $(both iop-search method=iop,search=gallop) $(both iop-siblings method=iop,search=none) \
    $(both iop-bisect-subsequence $bisect,tokenDiff=subsequence) \
    --set policy=runs/w90/policy --set evaluateEvery=60000 --seeds $seed --json "$out/methods.w90.$seed.json"
  $compare $here/swaps-repairs.yaml outcome:lr=0.0003,epochs=2 positiveOnly $(both iop $iop,search=none) \
    iop-positive:$iop,search=none,contrast=positive $(both iop-siblings method=iop,repair=false,search=none) \
    --set policy=runs/hw90/policy --set evaluateEvery=60000 --seeds $seed --json "$out/methods.hw90.$seed.json"
  critical=method=iop,search=none
  $compare $here/swaps-critiques.yaml positiveOnly positiveOnly-with-replay:$replayed iop-critique:$critical \
    iop-critique-replay-critiques:$critical,replay=critiques iop-critique-replay-all:$critical,replay=all \
    "iop-siblings:$critical,critiqueTemplate=''" \
    --set policy=runs/cw90/policy --set evaluateEvery=60000 --seeds $seed --json "$out/methods.cw90.$seed.json"
done

# What hiding failed attempts is worth, from starts of other seeds.
for seed in 0 1 2; do
  for other in seed8 seed8-shown seed9 seed9-shown; do
    from h90-$other backward $seed positiveOnly-slower:method=positiveOnly,lr=0.0003,epochs=4 iop:$iop
  done
  from h35-seed8 backward $seed positiveOnly iop:$iop
  from h35-seed8-shown backward $seed positiveOnly iop:$iop
done

# ── parts
small="--set repairFormat=backward --set budgetTokens=120000 --set evaluateEvery=60000"
$compare $here/chain.yaml $(both iop $iop) $(both penalty-step $iop,penalty=step) $(both penalty-suffix $iop,penalty=suffix) \
  only-positive:$iop,contrast=positive $(both only-negative $iop,contrast=negative) $(both replay-none $hinted) \
  $(both replay-solutions $hinted,replay=solutions) $(both replay-repairs $hinted,replay=repairs) \
  $(both no-filter method=iop,repair=true,repairsPerGroup=4,replay=both) diff-subsequence-full-penalty:$iop,$all,tokenDiff=subsequence \
  $small --set policy=runs/h75/policy --seeds 0,1,2,3,4 --json "$out/ablation.h75.json"
causes() { # KIND SETTINGS
  kind=$1
  shift
  $bench/hindsight-causes.ts $here/chain.yaml "$out/$kind.h75.json" 0,1,2,3,4 whole,hidden,alone policy=runs/h75/policy \
    repairFormat=backward repairsPerGroup=4 repairPlausibility=0.003 replay=both budgetTokens=120000 evaluateEvery=60000 "$@"
}
causes causes
causes causes-full-penalty $all
$compare $here/chain.yaml iop:$iop $small --set policy=runs/h75-shown/policy --seeds 0,1,2,3,4 --json "$out/causes.h75-shown.json"

# ── who names the right step
for start in h90 h75 h35 h90-shown h75-shown h35-shown; do
  $bench/identify.ts $here/chain.yaml $start "$out/identify.$start.json" policy=runs/$start/policy repairFormat=backward
done
$bench/identify.ts $here/chain.yaml v90 "$out/identify.v90.json" policy=runs/v90/policy repairFormat=forward
$bench/identify.ts $here/swaps.yaml w90 "$out/identify.w90.json" policy=runs/w90/policy
$bench/identify.ts $here/swaps-critiques.yaml cw90 "$out/identify.cw90.json" policy=runs/cw90/policy

$bench/collect.ts "$out" "$(git describe --always --dirty)" "$(date +%F)"
