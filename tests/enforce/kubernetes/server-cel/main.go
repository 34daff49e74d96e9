// Server-cel evaluates what the gate's manifests leave to an API server with the library and the types that API servers use.
//
//	server-cel MANIFESTS QUESTIONS
//
// Every object of MANIFESTS is decoded into the Go type of its kind, where an unknown or doubled field is an error. The
// expressions of policies and webhooks are compiled with the variables and types that Kubernetes documents for them, so that a
// field that is not there, or a result of another type, is an error. QUESTIONS (JSON) has requests, each for one policy, one
// webhook, or the authoriser's conditions; the answers, with what they cost, are printed as JSON. Exit code 1: something does
// not decode or compile.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
	admissionregistration "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// What one expression may cost before an API server gives up.
const perCall = 1_000_000

type condition struct {
	Expression string `json:"expression"`
}

type question struct {
	ID        string         `json:"id"`
	Policy    string         `json:"policy"`
	Webhook   string         `json:"webhook"`
	Access    bool           `json:"access"`
	Request   map[string]any `json:"request"`
	Object    any            `json:"object"`
	OldObject any            `json:"oldObject"`
}

type answer struct {
	Matched        bool   `json:"matched"`
	Denied         bool   `json:"denied"`
	Message        string `json:"message"`
	Error          string `json:"error"`
	Cost           uint64 `json:"cost"`
	ConditionsCost uint64 `json:"conditions_cost"`
}

// declared knows the types that requests have, by name and field, beside those of the language.
type declared struct {
	types.Provider
	fields map[string]map[string]*cel.Type
}

func (d *declared) FindStructType(name string) (*types.Type, bool) {
	if _, found := d.fields[name]; found {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return d.Provider.FindStructType(name)
}

func (d *declared) FindStructFieldNames(name string) ([]string, bool) {
	fields, found := d.fields[name]
	if !found {
		return d.Provider.FindStructFieldNames(name)
	}
	names := []string{}
	for field := range fields {
		names = append(names, field)
	}
	return names, true
}

func (d *declared) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	fields, found := d.fields[name]
	if !found {
		return d.Provider.FindStructFieldType(name, field)
	}
	kind, found := fields[field]
	if !found {
		return nil, false
	}
	return &types.FieldType{Type: kind}, true
}

const (
	admissionRequest = "kubernetes.AdmissionRequest"
	accessReview     = "kubernetes.SubjectAccessReviewSpec"
	ofVariables      = "kubernetes.variables"
)

func newDeclared() *declared {
	extra := cel.MapType(cel.StringType, cel.ListType(cel.StringType))
	texts := func(names ...string) map[string]*cel.Type {
		fields := map[string]*cel.Type{}
		for _, name := range names {
			fields[name] = cel.StringType
		}
		return fields
	}
	with := func(fields, more map[string]*cel.Type) map[string]*cel.Type {
		for name, kind := range more {
			fields[name] = kind
		}
		return fields
	}
	groups := map[string]*cel.Type{"groups": cel.ListType(cel.StringType), "extra": extra}
	kind, resource := cel.ObjectType("kubernetes.Kind"), cel.ObjectType("kubernetes.Resource")
	return &declared{nil, map[string]map[string]*cel.Type{
		"kubernetes.Kind":     texts("group", "version", "kind"),
		"kubernetes.Resource": texts("group", "version", "resource"),
		"kubernetes.UserInfo": with(texts("username", "uid"), groups),
		admissionRequest: with(texts("subResource", "requestSubResource", "name", "namespace", "operation"), map[string]*cel.Type{
			"kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
			"userInfo": cel.ObjectType("kubernetes.UserInfo"), "dryRun": cel.BoolType, "options": cel.DynType,
		}),
		"kubernetes.ResourceAttributes":    texts("namespace", "verb", "group", "version", "resource", "subresource", "name"),
		"kubernetes.NonResourceAttributes": texts("path", "verb"),
		accessReview: with(with(texts("user", "uid"), groups), map[string]*cel.Type{
			"resourceAttributes":    cel.ObjectType("kubernetes.ResourceAttributes"),
			"nonResourceAttributes": cel.ObjectType("kubernetes.NonResourceAttributes"),
		}),
	}}
}

func environment(known *declared, variables ...cel.EnvOption) *cel.Env {
	options := []cel.EnvOption{
		cel.HomogeneousAggregateLiterals(), cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true), cel.CrossTypeNumericComparisons(true), cel.OptionalTypes(),
		ext.Strings(ext.StringsVersion(2)), ext.Sets(),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
			cel.ValidateHomogeneousAggregateLiterals()),
	}
	env, err := cel.NewEnv(options...)
	check(err)
	known.Provider = env.CELTypeProvider()
	env, err = env.Extend(append(variables, cel.CustomTypeProvider(known))...)
	check(err)
	return env
}

// An expression, ready to be evaluated.
type expression struct {
	text    string
	program cel.Program
	kind    *cel.Type
}

// Compile refuses what is not exactly of the kind wanted; nil is any.
func compile(env *cel.Env, text string, wanted *cel.Type) expression {
	ast, issues := env.Compile(text)
	if issues != nil && issues.Err() != nil {
		fail("%q: %v", text, issues.Err())
	}
	if wanted != nil && !ast.OutputType().IsExactType(wanted) {
		fail("%q must be %s, and is %s", text, wanted, ast.OutputType())
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost), cel.CostLimit(perCall))
	check(err)
	return expression{text, program, ast.OutputType()}
}

func (e expression) eval(values map[string]any, cost *uint64) (ref.Val, error) {
	value, details, err := e.program.Eval(values)
	if details != nil && details.ActualCost() != nil {
		*cost += *details.ActualCost()
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w", e.text, err)
	}
	return value, nil
}

// All says whether all conditions hold: one that does not decides, whatever the others are.
func all(conditions []expression, values map[string]any, found *answer) bool {
	for _, one := range conditions {
		value, err := one.eval(values, &found.ConditionsCost)
		if err != nil {
			found.Error = err.Error()
			continue
		}
		if value != types.True {
			found.Error = ""
			return false
		}
	}
	return found.Error == ""
}

type validation struct {
	expression expression
	message    *expression
	text       string
}

type compiled struct {
	conditions  []expression
	names       []string
	variables   []expression
	validations []validation
}

func (c compiled) answer(values map[string]any) answer {
	found := answer{}
	if found.Matched = all(c.conditions, values, &found); !found.Matched {
		return found
	}
	variables := map[string]any{}
	values["variables"] = variables
	for number, one := range c.variables {
		value, err := one.eval(values, &found.Cost)
		if err != nil {
			found.Error = err.Error()
			return found
		}
		variables[c.names[number]] = value
	}
	for _, one := range c.validations {
		value, err := one.expression.eval(values, &found.Cost)
		if err != nil {
			found.Error = err.Error()
			return found
		}
		if value == types.True {
			continue
		}
		found.Denied, found.Message = true, one.text
		if one.message != nil {
			message, err := one.message.eval(values, &found.Cost)
			if err != nil {
				found.Error = err.Error()
				return found
			}
			found.Message = fmt.Sprint(message.Value())
		}
	}
	return found
}

func compilePolicy(item admissionregistration.ValidatingAdmissionPolicy) compiled {
	known, made := newDeclared(), compiled{}
	fields := map[string]*cel.Type{}
	known.fields[ofVariables] = fields
	variables := []cel.EnvOption{
		cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType),
		cel.Variable("request", cel.ObjectType(admissionRequest)),
	}
	made.conditions = conditionsOf(environment(known, variables...), item.Spec.MatchConditions)
	env := environment(known, append(variables, cel.Variable("variables", cel.ObjectType(ofVariables)))...)
	for _, one := range item.Spec.Variables {
		compiled := compile(env, one.Expression, nil)
		fields[one.Name] = compiled.kind
		made.names, made.variables = append(made.names, one.Name), append(made.variables, compiled)
	}
	for _, one := range item.Spec.Validations {
		found := validation{expression: compile(env, one.Expression, cel.BoolType), text: one.Message}
		if one.MessageExpression != "" {
			message := compile(env, one.MessageExpression, cel.StringType)
			found.message = &message
		}
		made.validations = append(made.validations, found)
	}
	return made
}

func conditionsOf(env *cel.Env, listed []admissionregistration.MatchCondition) []expression {
	found := []expression{}
	for _, one := range listed {
		found = append(found, compile(env, one.Expression, cel.BoolType))
	}
	return found
}

func main() {
	if len(os.Args) != 3 {
		fail("usage: server-cel MANIFESTS QUESTIONS")
	}
	policies, webhooks, decoded := map[string]compiled{}, map[string]compiled{}, map[string]int{}
	text, err := os.ReadFile(os.Args[1])
	check(err)
	for _, document := range strings.Split(string(text), "\n---\n") {
		item := decode([]byte(document), decoded)
		switch item := item.(type) {
		case *admissionregistration.ValidatingAdmissionPolicy:
			policies[item.Name] = compilePolicy(*item)
		case *admissionregistration.ValidatingWebhookConfiguration:
			env := environment(newDeclared(), cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType),
				cel.Variable("request", cel.ObjectType(admissionRequest)))
			for _, webhook := range item.Webhooks {
				webhooks[webhook.Name] = compiled{conditions: conditionsOf(env, webhook.MatchConditions)}
			}
		}
	}
	asked := struct {
		Questions  []question  `json:"questions"`
		Conditions []condition `json:"conditions"`
	}{}
	text, err = os.ReadFile(os.Args[2])
	check(err)
	check(json.Unmarshal(text, &asked))
	env := environment(newDeclared(), cel.Variable("request", cel.ObjectType(accessReview)))
	access := compiled{}
	for _, one := range asked.Conditions {
		access.conditions = append(access.conditions, compile(env, one.Expression, cel.BoolType))
	}
	answers := map[string]answer{}
	for _, one := range asked.Questions {
		values := map[string]any{"request": one.Request, "object": one.Object, "oldObject": one.OldObject}
		made, found := access, one.Access
		if one.Policy != "" {
			made, found = policies[one.Policy]
		} else if one.Webhook != "" {
			made, found = webhooks[one.Webhook]
		}
		if !found {
			fail("%s: there is no such policy or webhook", one.ID)
		}
		answers[one.ID] = made.answer(values)
	}
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{"answers": answers, "decoded": decoded}))
}

func decode(document []byte, decoded map[string]int) any {
	head := struct {
		Kind string `json:"kind"`
	}{}
	check(yaml.Unmarshal(document, &head))
	items := map[string]any{
		"Namespace": &core.Namespace{}, "ServiceAccount": &core.ServiceAccount{}, "Service": &core.Service{},
		"ResourceQuota": &core.ResourceQuota{},
		"ClusterRole":   &rbac.ClusterRole{}, "ClusterRoleBinding": &rbac.ClusterRoleBinding{},
		"NetworkPolicy": &networking.NetworkPolicy{}, "StatefulSet": &apps.StatefulSet{}, "Deployment": &apps.Deployment{},
		"PodDisruptionBudget":              &policy.PodDisruptionBudget{},
		"ValidatingAdmissionPolicy":        &admissionregistration.ValidatingAdmissionPolicy{},
		"ValidatingAdmissionPolicyBinding": &admissionregistration.ValidatingAdmissionPolicyBinding{},
		"ValidatingWebhookConfiguration":   &admissionregistration.ValidatingWebhookConfiguration{},
	}
	item, known := items[head.Kind]
	if !known {
		return nil
	}
	if err := yaml.UnmarshalStrict(document, item); err != nil {
		fail("%s: %v", head.Kind, err)
	}
	decoded[head.Kind]++
	return item
}

func check(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "server-cel: "+format+"\n", values...)
	os.Exit(1)
}
