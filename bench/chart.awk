# chart.awk - a bar chart as SVG
#
#   awk -f chart.awk -v title=TEXT -v names='A|B|…' FILE
#
# Each line of the input is a group: label|figure of A|figure of B|…

function round_up(value,  unit)
{
	unit = 1
	while (unit * 10 < value)
		unit *= 10
	return value <= unit * 2 ? unit * 2 : value <= unit * 5 ? unit * 5 : unit * 10
}

function text(x, y, anchor, size, string)
{
	printf "  <text x=\"%d\" y=\"%d\" text-anchor=\"%s\" font-size=\"%d\">%s</text>\n", x, y, anchor, size, string
}

function grouped(value)
{
	return value >= 1000 ? sprintf("%d %03d", int(value / 1000), value % 1000) : sprintf("%d", value)
}

BEGIN {
	FS = "|"
	series = split(names, name, "|")
	split("#8c8c8c #b5651d #d9a066 #33658a #86a9c4", colour, " ")
	left = 70; top = 70; width = 760; height = 300
}

{
	label[NR] = $1
	for (i = 1; i <= series; i++) {
		figure[NR, i] = $(i + 1)
		if (figure[NR, i] > greatest)
			greatest = figure[NR, i]
	}
}

END {
	scale = round_up(greatest)
	bottom = top + height
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\">\n", width, bottom + 40, width, bottom + 40
	printf "  <title>%s</title>\n  <rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n", title, width, bottom + 40
	text(left, 22, "start", 14, title)
	for (i = 1; i <= series; i++) {
		printf "  <rect x=\"%d\" y=\"36\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", left + (i - 1) * 132, colour[i]
		text(left + (i - 1) * 132 + 17, 46, "start", 11, name[i])
	}
	for (i = 0; i <= 4; i++) {
		y = bottom - height * i / 4
		printf "  <path d=\"M%d,%d L%d,%d\" stroke=\"#dddddd\"/>\n", left, y, width - 10, y
		text(left - 6, y + 4, "end", 11, grouped(scale * i / 4))
	}
	group = (width - left - 10) / NR
	bar = group * 0.84 / series
	for (g = 1; g <= NR; g++) {
		for (i = 1; i <= series; i++) {
			x = left + (g - 1) * group + group * 0.08 + (i - 1) * bar
			size = height * figure[g, i] / scale
			printf "  <rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x, bottom - size, bar - 3, size, colour[i]
			text(x + (bar - 3) / 2, bottom - size - 4, "middle", 9, grouped(figure[g, i]))
		}
		text(left + (g - 0.5) * group, bottom + 22, "middle", 12, label[g])
	}
	print "</svg>"
}
