# The HTTP sink and the sample sink, without a server: the programs of test/sink/http. Each is a subtest.

use strict;
use warnings;

use Cwd qw(realpath);
use File::Basename qw(dirname);
use Test::More;

my $tests = realpath(dirname(__FILE__) . '/../sink/http');
my $build = $ENV{BUILD} // "$tests/../../../build";
my $output = qx{make -s -C '$tests' BUILD='$build' 2>&1};

is($?, 0, 'the programs build') or BAIL_OUT($output);
foreach my $program (qw(test_checks test_delivery test_spool))
{
	my $plan = 0;

	open(my $lines, '-|', "$build/http/$program") or die "$program: $!";
	while (my $line = <$lines>)
	{
		$plan = 1 if $line =~ /^1\.\.\d+$/;
		print "    $line";
	}
	close $lines;
	ok($? == 0 && $plan, "$program passes");
}
done_testing();
