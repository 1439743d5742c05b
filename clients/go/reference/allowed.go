package main

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

//go:embed allowed.txt
var allowedText string

// allowance is a difference that is no defect.
type allowance struct {
	kind, model, tested *regexp.Regexp
	reason              string
}

func (a allowance) covers(kind, model, tested string) bool {
	return a.kind.MatchString(kind) && a.model.MatchString(model) && a.tested.MatchString(tested)
}

// allowedFor reads allowed.txt: blocks of lines `etcd:`, `call:`, `etcd answers:`, `we answer:` and `because:`, of which
// the first names the versions, and the next three are regular expressions.
func allowedFor(version string) ([]allowance, error) {
	var list []allowance
	for _, block := range strings.Split(strings.TrimSpace(allowedText), "\n\n") {
		fields := map[string]string{}
		for _, line := range strings.Split(block, "\n") {
			if name, value, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, "#") {
				fields[name] = strings.TrimSpace(value)
			}
		}
		if len(fields) == 0 || !strings.Contains(fields["etcd"], version) {
			continue
		}
		var compiled [3]*regexp.Regexp
		for i, name := range []string{"call", "etcd answers", "we answer"} {
			expression, err := regexp.Compile(fields[name])
			if err != nil || fields[name] == "" || fields["because"] == "" {
				return nil, fmt.Errorf("allowed.txt: no %q, or no reason, in\n%s", name, block)
			}
			compiled[i] = expression
		}
		list = append(list, allowance{compiled[0], compiled[1], compiled[2], fields["because"]})
	}
	return list, nil
}
