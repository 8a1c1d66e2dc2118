// Prints what the parser of k8s.io/apimachinery says to many texts. Each line has the text, the quantity in thousandths
// and in whole units, both rounded up. "-" is a refused text. A number that does not fit into 64 bits is the largest one that does.
//
//	go run . > ../../../src/cli/run/manifest/quantities.tsv
package main

import (
	"fmt"
	"math"
	"math/rand"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

func main() {
	random := rand.New(rand.NewSource(1))
	units := []string{"", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
		"K", "ki", "mi", "B", "MB", "e", "E3", "e3", "e+2", "E-2", "e-9", "e-10", "e18", "e30", "Zi", "i", " ", "e1.5", "e 1", "E+", "Em", "e1k"}
	numbers := []string{"", "0", "1", "-1", "+1", "1.", ".5", "0.5", "1.5", "-0.5", "+.5", ".", "-", "+", "007", "00.10",
		"1.0000000001", "0.0001", "9223372036854775807", "9223372036854775808", "18446744073709551616", "1.2.3", "1,5", "--1", "1 ",
		" 1", "0x10", "1_000", "999999999999999999999999", "0.0000000000000000001", "123456789.987654321"}
	texts := []string{}
	for _, number := range numbers {
		for _, unit := range units {
			texts = append(texts, number+unit)
		}
	}
	for range 600 {
		digits := ""
		for range 1 + random.Intn(12) {
			digits += string("0123456789"[random.Intn(10)])
		}
		if random.Intn(2) == 0 {
			digits += "."
			for range random.Intn(12) {
				digits += string("0123456789"[random.Intn(10)])
			}
		}
		if random.Intn(8) == 0 {
			digits = string("+-"[random.Intn(2)]) + digits
		}
		texts = append(texts, digits+units[random.Intn(len(units))])
	}
	seen := map[string]bool{}
	for _, text := range texts {
		// Without a digit the parser's answer depends on the unit, although the grammar wants a digit.
		if seen[text] || !hasNumber(text) {
			continue
		}
		seen[text] = true
		fmt.Printf("%q\t%s\n", text, answers(text))
	}
}

// hasNumber says whether a digit stands before the unit.
func hasNumber(text string) bool {
	number := strings.TrimLeft(text, "+-. ")
	return number != "" && strings.Contains("0123456789", number[:1])
}

// answers gives the quantity in thousandths and in whole units, as MilliValue and Value do where it fits into 64 bits.
func answers(text string) string {
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		return "-\t-"
	}
	if quantity.Sign() < 0 {
		return "negative\tnegative"
	}
	milli, whole := fmt.Sprint(math.MaxInt64), fmt.Sprint(math.MaxInt64)
	if quantity.Cmp(*resource.NewMilliQuantity(math.MaxInt64, resource.DecimalSI)) <= 0 {
		milli = fmt.Sprint(quantity.MilliValue())
	}
	if quantity.Cmp(*resource.NewQuantity(math.MaxInt64, resource.DecimalSI)) <= 0 {
		whole = fmt.Sprint(quantity.Value())
	}
	return milli + "\t" + whole
}
