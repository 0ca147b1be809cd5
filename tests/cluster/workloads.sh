# shellcheck shell=bash
# The workloads with traffic, and how a script knows that a cluster has come to rest. Sourced, never run: `kubectl`, `$python` and
# `$nodes` are those of the script that sources it.

backed() { # NAME REPLICAS : the pods in whose name the backends answer; a StatefulSet's names survive a drain
  cat <<YAML
---
apiVersion: v1
kind: Service
metadata: {name: $1, namespace: shop}
spec:
  selector: {app: $1}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: $1, namespace: shop}
spec:
  replicas: $2
  serviceName: $1
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: $1}}
  template:
    metadata:
      labels: {app: $1, version: v1.8.2}
      annotations: {kwok.x-k8s.io/usage-cpu: 140m, kwok.x-k8s.io/usage-memory: 90Mi}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: app
        image: example.test/$1:1.8.2
        ports: [{name: http, containerPort: 8080}]
        resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {memory: 128Mi}}
YAML
}

settled() { # every workload but the faults' has what it asks for, no pod waits, each that runs is ready
  local waiting
  waiting=$(kubectl get deployments,statefulsets,daemonsets -A -o go-template='{{range .items}}{{.metadata.namespace}}/{{.metadata.name}} {{with .status.numberReady}}{{.}}{{else}}{{with .status.readyReplicas}}{{.}}{{else}}0{{end}}{{end}} {{with .spec.replicas}}{{.}}{{else}}{{with .status.desiredNumberScheduled}}{{.}}{{else}}1{{end}}{{end}}{{"\n"}}{{end}}' \
    | awk '!/^fault-/ && $2 < $3 { print $1, $2 "/" $3 }')
  [[ -z $waiting ]] || { printf 'workload, ready/wanted:\n%s\n' "$waiting"; return 1; }
  waiting=$(kubectl get pods -A --field-selector=status.phase=Pending --no-headers 2> /dev/null | grep -v '^fault-' || true)
  [[ -z $waiting ]] || { printf '%s\n' "$waiting"; return 1; }
  waiting=$(kubectl get pods -A --field-selector=status.phase=Running \
    -o jsonpath='{range .items[*]}{.metadata.namespace}/{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' | awk '!/^fault-/ && $2 != "True"')
  [[ -z $waiting ]] || { printf 'not ready:\n%s\n' "$waiting"; return 1; }
}
measured() { # metrics-server knows every node, but for those that a fault took away
  local count
  count=$(kubectl get --raw /apis/metrics.k8s.io/v1beta1/nodes | "$python" -c 'import json, sys; print(len(json.load(sys.stdin)["items"]))')
  ((count >= nodes)) || { echo "$count of $nodes nodes have metrics"; return 1; }
}
balanced() { # each autoscaler but the faults' stands where its own arithmetic leaves it: usage is constant, so it stays there
  local moving
  moving=$(kubectl get horizontalpodautoscalers -A -o json | "$python" -c '
import json, sys
for hpa in json.load(sys.stdin)["items"]:
    meta, spec, status = hpa["metadata"], hpa["spec"], hpa.get("status", {})
    if meta["namespace"].startswith("fault-"):
        continue
    where = "%s/%s" % (meta["namespace"], meta["name"])
    use = [m.get("resource", {}).get("current", {}).get("averageUtilization") for m in status.get("currentMetrics") or []]
    if not use or use[0] is None:
        print(where, "has no metric yet")
        continue
    ratio = use[0] / spec["metrics"][0]["resource"]["target"]["averageUtilization"]
    now, least, most = status.get("currentReplicas", 0), spec.get("minReplicas", 1), spec["maxReplicas"]
    if (ratio > 1.1 and now < most) or (ratio < 0.9 and now > least) or now != status.get("desiredReplicas"):
        print(where, "has", now, "replicas and wants", status.get("desiredReplicas"), "at", ratio)
')
  [[ -z $moving ]] || { printf '%s\n' "$moving"; return 1; }
}
