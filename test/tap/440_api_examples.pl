# The requests of docs/rest.md and docs/graphql.md are answered as these say.
#
# Identifiers, numbers of accounts, positions and times differ from run to run: an identifier of the document stands
# for the one that was found in its place; the others are compared by their form.
#
# With BANKING_WRITE_EXAMPLES=1 the answers of this run are put into the documents.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Graphql;
use JSON::PP ();
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Rest;
use Test::More;

my $missing = Rest::missing() // Graphql::missing();
plan skip_all => $missing if $missing;

my $documents = "$FindBin::RealBin/../../docs";
my $uuid = qr/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/;
my $time = qr/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00|Z)/;
my $json = JSON::PP->new->canonical->allow_nonref;
my $node = ledger_node('examples', conf => "banking.trusted_authenticators = 'bank_authenticator'\n");
my (%known, $token);

# Compare data of the document with that of an answer; learn identifiers. Returns what differs.
sub differences
{
	my ($there, $here, $place) = @_;

	if (ref $there eq 'HASH' && ref $here eq 'HASH')
	{
		my %keys = (%$there, %$here);
		return map {
			!exists $there->{$_} ? "$place/$_ is new"
			: !exists $here->{$_} ? "$place/$_ is gone"
			: differences($there->{$_}, $here->{$_}, "$place/$_")
		} sort keys %keys;
	}
	if (ref $there eq 'ARRAY' && ref $here eq 'ARRAY')
	{
		return "$place has another length" if @$there != @$here;
		return map { differences($there->[$_], $here->[$_], "$place/$_") } 0 .. $#$there;
	}
	return if !defined $there && !defined $here;
	return "$place is null" if !defined $there || !defined $here;
	return if $place =~ m{/(position|account_?number)$}i;
	return if $place =~ m{/access_?token$}i && $here =~ /^[\w-]+\.[\w-]+\.[\w-]+$/;
	return if "$there" =~ /^$time$/ && "$here" =~ /^$time$/;
	if ("$there" =~ /^$uuid$/ && "$here" =~ /^$uuid$/)
	{
		return if ($known{$there} //= $here) eq $here;
	}
	my $expected = "$there" =~ s/($uuid)/$known{$1} \/\/ $1/ger;
	return $expected eq "$here" ? () : "$place is $here, not $expected";
}

# An answer with lines of a bearable length.
sub wrapped
{
	my ($text) = @_;
	my ($line, @lines) = ('');

	foreach my $part (split /(?<=,)(?=\s?["\{])/, $text)
	{
		if ($line ne '' && length("$line$part") > 110)
		{
			push @lines, $line =~ s/ +$//r;
			$line = '  ' . $part =~ s/^ +//r;
		}
		else { $line .= $part }
	}
	return join("\n", @lines, $line);
}

# Play the requests of a document: $play gets the text of one and returns (heading, data, content).
sub play
{
	my ($name, $question, $answer, $play) = @_;
	my $text = slurp_file("$documents/$name");
	my @parts = split /(```(?:$question|$answer)\n.*?^```$)/ms, $text;
	my (@asked, $count);

	foreach my $part (@parts)
	{
		my ($kind, $block) = $part =~ /\A```($question|$answer)\n(.*)^```\z/ms or next;

		if ($kind eq $question && !@asked)
		{
			my $request = $block =~ s/($uuid)/$known{$1} \/\/ $1/ger;

			@asked = ($block, $play->($request));
			next;
		}
		my ($asked, $heading, $data, $content) = @asked;
		my ($head, $body) = $heading eq '' ? ('', $block) : $block =~ /^(.*?)\n\n(.*)$/s;
		my @wrong = differences($json->decode($body // 'null'), $data, '');
		my $expected = $head =~ s/($uuid)/$known{$1} \/\/ $1/ger;

		is(join("\n", $expected, @wrong), $heading, "$name: " . $asked =~ s/\n.*//sr);
		@asked = ();
		$count++;
		$content =~ s/[\w-]{20,}\.[\w-]{20,}\.[\w-]{20,}/eyJhbGciOiJIUzI1NiIs…/;
		$part = "```$kind\n" . ($heading eq '' ? '' : "$heading\n\n") . wrapped($content) . "\n```";
	}
	cmp_ok($count, '>', 5, "$name has examples");
	return unless $ENV{BANKING_WRITE_EXAMPLES};
	open(my $out, '>', "$documents/$name") or die "$name: $!";
	print $out @parts;
	close $out;
	return;
}

my $rest = Rest->start($node, 'rest');
$rest->add_user('ann@example.com', 'customer');
play('rest.md', 'http', 'http', sub {
	my ($request) = @_;
	my ($head, $body) = split /\n\n/, $request, 2;
	my ($line, @headers) = split /\n/, $head;
	my ($method, $path) = split / /, $line;
	my %headers = map { split /: /, $_, 2 } @headers;

	$headers{Authorization} =~ s/\$ANN/$token/ if $headers{Authorization};
	my $answer = $rest->request($method, $path =~ s{^/api/v1/}{}r, headers => \%headers,
		defined $body ? (content => $body =~ s/\n+$//r) : ());
	$token //= $answer->{json}{access_token};
	my $heading = join("\n", "HTTP/1.1 $answer->{status} $answer->{reason}",
		map { defined $answer->{headers}{ lc $_ } ? "$_: $answer->{headers}{ lc $_ }" : () } qw(Location Idempotency-Replayed Retry-After));

	return ($heading, $answer->{json}, $answer->{content});
});
$rest->stop;

%known = ();
undef $token;
my $graphql = Graphql->start($node, 'graphql');
$graphql->add_user('ann@example.com', 'customer');
play('graphql.md', 'graphql', 'json', sub {
	my ($request) = @_;
	my $answer = $graphql->request('POST', '', json => { query => $request }, token => $token);

	$token //= $answer->{json}{data}{login}{token}{accessToken};
	return ('', $answer->{json}, $answer->{content});
});
$graphql->stop;
$node->stop;
done_testing();
