"""Scripts that hand the shares of a map to a scheduler, and then finish it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from labelseg.pipeline.instances import split_words

CORES = 4  # of a pod: a process each, whatever its node has
RESOURCES = f'          resources: {{requests: {{cpu: "{CORES}", memory: 8Gi}}}}\n'
GRACE_SECONDS = 120  # before a time limit: what is computed is written, which takes seconds


@dataclass(frozen=True)
class ScriptJob:
    """What a script has computed.

    Attributes:
        root: Absolute path of the workspace, the same on every machine.
        instance, split: The map.
        shares: How many shares.
        version: Version of labelseg.
        store: URL of the object store behind the workspace; empty where machines share the folder.
    """

    root: Path
    instance: str
    split: str
    shares: int
    version: str
    store: str = ""

    def command(self, verb: str, *words: str) -> str:
        """Write a command of the shell on the map."""
        return shlex.join(["labelseg", "-C", str(self.root), verb, self.instance, *split_words(self.split), *words])

    @property
    def title(self) -> str:
        """The map in one line, for a comment."""
        return " ".join(f"{self.instance} ({self.split})".split())

    @property
    def name(self) -> str:
        """A name that schedulers take: lower-case letters, digits and dashes."""
        plain = "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in f"{self.instance}-{self.split}".lower())
        return f"labelseg-{plain}"[:50].strip("-")


def slurm_script(job: ScriptJob) -> str:
    """Write a script for ``bash`` on a login node: it submits an array job with a task a share, and a job that finishes after it."""
    last = job.shares - 1
    return f"""\
#!/bin/bash
# {job.title}: its shares as an array job of Slurm, then a job that makes one artifact of them. Written by version {job.version}.
# Submit both on a login node on whose path the program is, as it then is in the jobs: bash FILE. Logs come to the folder you are in.
# Partition, account, time, memory and --gres are yours to add to the lines #SBATCH of both. To go on or to run it again: the same.
set -euo pipefail

shares=$(sbatch --parsable <<'SHARE'
#!/bin/bash
#SBATCH --job-name={job.name}
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task=4
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={job.name}-%a.log
#SBATCH --signal=B:USR1@{GRACE_SECONDS}
again=0
work=
trap 'kill -TERM "$work"' TERM
trap 'again=1; kill -TERM "$work"' USR1
{job.command("work", "--shards", str(job.shares))} --shard "$SLURM_ARRAY_TASK_ID" --workers "${{SLURM_CPUS_PER_TASK:-1}}" &
work=$!
wait "$work"; code=$?
while kill -0 "$work" 2>/dev/null; do wait "$work"; code=$?; done
# The time limit came: the share goes on in another place of the queue. Being cancelled or pre-empted is Slurm's to decide.
if [ "$again" = 1 ] && [ "$code" = 143 ]; then scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"; fi
exit "$code"
SHARE
)

sbatch --dependency="afterany:${{shares%%;*}}" <<'FINISH'
#!/bin/bash
#SBATCH --job-name={job.name}-finish
#SBATCH --output={job.name}-finish.log
exec {job.command("finish")}
FINISH
"""


def kubernetes_manifest(job: ScriptJob) -> str:
    """Write an Indexed Job with a pod a share, and a Job that waits for the shares and finishes the map; for ``kubectl apply -f``.

    Failed images (3) and wrong usage (2) fail their index at once, since trying again would not help; being terminated (143) does not
    count; anything else is tried three times.
    """
    shares = ("--shards", str(job.shares), "--workers", str(CORES))
    work = _words("labelseg", "-C", str(job.root), "work", job.instance, *split_words(job.split), *shares)
    finish = _words("labelseg", "-C", str(job.root), "finish", job.instance, *split_words(job.split), "--wait", "604800")
    needed = (
        "the secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what else names your store. The image has the workspace as well, "
        "without .labelseg"
        if job.store
        else "the claim of a volume that many nodes may write to, with the workspace on it. Images elsewhere need a mount of their own"
    )
    return f"""\
# {job.title}: its shares as an Indexed Job of Kubernetes, and a Job that makes one artifact of them. Written by version {job.version}.
# Put in an image that has this version of labelseg, and {needed}.
# Then: kubectl apply -f FILE; to run it again: kubectl replace --force -f FILE. Kubernetes 1.29 or newer.
apiVersion: batch/v1
kind: Job
metadata:
  name: {job.name}
spec:
  completionMode: Indexed
  completions: {job.shares}
  parallelism: {job.shares}
  backoffLimitPerIndex: 3
  maxFailedIndexes: {job.shares}
  podFailurePolicy:
    rules:
      - action: Ignore
        onPodConditions:
          - type: DisruptionTarget
      - action: Ignore
        onExitCodes:
          containerName: labelseg
          operator: In
          values: [143]
      - action: FailIndex
        onExitCodes:
          containerName: labelseg
          operator: In
          values: [2, 3]
{_template(job, work, RESOURCES)}---
apiVersion: batch/v1
kind: Job
metadata:
  name: {job.name}-finish
spec:
  backoffLimit: 0
{_template(job, finish)}"""


def _template(job: ScriptJob, command: str, further: str = "") -> str:
    """Write the pod of a Job: one container with a command, and the workspace at its place, or the keys of the object store."""
    pod = f"""\
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: labelseg
          image: YOUR-IMAGE
          command: {command}
{further}"""
    if job.store:
        return f"""{pod}          envFrom: [{{secretRef: {{name: YOUR-SECRET}}}}]
"""
    return f"""{pod}          volumeMounts:
            - {{name: workspace, mountPath: {json.dumps(str(job.root))}}}
      volumes:
        - name: workspace
          persistentVolumeClaim: {{claimName: YOUR-CLAIM}}
"""


def _words(*words: str) -> str:
    """Write words as a list of YAML, of which JSON is a part."""
    return json.dumps(list(words))
