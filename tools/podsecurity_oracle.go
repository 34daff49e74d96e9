// Pods in, one JSON object a line; what upstream's own k8s.io/pod-security-admission forbids about each of them out, one object a line.
//
// The answer names, for both levels, the policy versions (v1.N, by N) from which on the list of violated checks is another:
//
//	{"baseline": [[0, []], [34, ["hostProbesAndHostLifecycle"]]], "restricted": [[0, ["runAsNonRoot"]], ...]}
//
// or {"error": "..."} for what an API server would not decode. With -yaml a line is a JSON string that holds a file, which is read
// as kubectl reads one. How it is built and run: podsecurity_oracle.py beside it.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sort"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

const maxLine = 4 << 20 // an API server takes no larger object

// named makes every check say its own name as the reason, so that upstream's registry still decides which checks are in force.
func named(checks []policy.Check) (int, []policy.Check) {
	newest := 0
	for _, check := range checks {
		for number := range check.Versions {
			version := &check.Versions[number]
			id, ask := string(check.ID), version.CheckPod
			version.CheckPod = func(metadata *metav1.ObjectMeta, spec *corev1.PodSpec) policy.CheckResult {
				result := ask(metadata, spec)
				result.ForbiddenReason = id
				return result
			}
			if version.MinimumVersion.Minor() > newest {
				newest = version.MinimumVersion.Minor()
			}
		}
	}
	return newest, checks
}

func violated(evaluator policy.Evaluator, level api.Level, minor int, pod *corev1.Pod) []string {
	found := []string{}
	at := api.LevelVersion{Level: level, Version: api.MajorMinorVersion(1, minor)}
	for _, result := range evaluator.EvaluatePod(at, &pod.ObjectMeta, &pod.Spec) {
		if !result.Allowed {
			found = append(found, result.ForbiddenReason)
		}
	}
	sort.Strings(found)
	return found
}

func answer(evaluator policy.Evaluator, newest int, line []byte) map[string]any {
	pod := &corev1.Pod{}
	// As the API server decodes: names in their case, numbers whole.
	if err := kjson.UnmarshalCaseSensitivePreserveInts(line, pod); err != nil {
		return map[string]any{"error": err.Error()}
	}
	levels := map[string]any{}
	for _, level := range []api.Level{api.LevelBaseline, api.LevelRestricted} {
		changes, before := [][2]any{}, ""
		for minor := 0; minor <= newest; minor++ {
			found := violated(evaluator, level, minor, pod)
			if now := fmt.Sprintf("%q", found); now != before {
				changes, before = append(changes, [2]any{minor, found}), now
			}
		}
		levels[string(level)] = changes
	}
	return levels
}

// written returns the JSON that kubectl would send for a file.
func written(line []byte) ([]byte, error) {
	var text string
	if err := json.Unmarshal(line, &text); err != nil {
		return nil, err
	}
	return yaml.YAMLToJSON([]byte(text))
}

func said(evaluator policy.Evaluator, newest int, line []byte, inYAML bool) map[string]any {
	if inYAML {
		sent, err := written(line)
		if err != nil {
			return map[string]any{"error": err.Error()}
		}
		line = sent
	}
	return answer(evaluator, newest, line)
}

func main() {
	inYAML := len(os.Args) > 1 && os.Args[1] == "-yaml"
	newest, checks := named(policy.DefaultChecks())
	evaluator, err := policy.NewEvaluator(checks, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 0, 1<<16), maxLine)
	out := bufio.NewWriter(os.Stdout)
	say := json.NewEncoder(out)
	for lines.Scan() {
		if err := say.Encode(said(evaluator, newest, lines.Bytes(), inYAML)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	if err := out.Flush(); err != nil {
		os.Exit(3)
	}
}
