import java.io.IOException;
import java.nio.charset.StandardCharsets;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.conf.Configured;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.BytesWritable;
import org.apache.hadoop.io.LongWritable;
import org.apache.hadoop.io.NullWritable;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.mapreduce.InputSplit;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.Mapper;
import org.apache.hadoop.mapreduce.RecordReader;
import org.apache.hadoop.mapreduce.Reducer;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.hadoop.mapreduce.TypeConverter;
import org.apache.hadoop.mapreduce.lib.input.FileInputFormat;
import org.apache.hadoop.mapreduce.lib.input.FixedLengthInputFormat;
import org.apache.hadoop.mapreduce.lib.output.FileOutputFormat;
import org.apache.hadoop.mapreduce.lib.partition.InputSampler;
import org.apache.hadoop.mapreduce.lib.partition.TotalOrderPartitioner;
import org.apache.hadoop.mapreduce.lib.reduce.LongSumReducer;
import org.apache.hadoop.util.Tool;
import org.apache.hadoop.util.ToolRunner;
import org.apache.hadoop.yarn.api.records.ApplicationId;
import org.apache.hadoop.yarn.api.records.ApplicationReport;
import org.apache.hadoop.yarn.api.records.FinalApplicationStatus;
import org.apache.hadoop.yarn.api.records.YarnApplicationState;
import org.apache.hadoop.yarn.client.api.YarnClient;

/**
 * The jobs of bench/run for Hadoop, after its own examples WordCount, Grep
 * (here the lines themselves) and TeraSort:
 *
 * <p>HadoopJobs [-D NAME=VALUE]... wordcount|grep|sort INPUT OUTPUT REDUCES
 * [PATTERN]
 *
 * <p>Prints "job_seconds" and the time of the job: with YARN from the start of
 * its application master, which is what Hadoop starts anew for each job.
 */
public final class HadoopJobs extends Configured implements Tool {
  private static final long POLL_MS = 20;

  /** WordCount's mapper, on bytes. */
  public static class Tokenize
      extends Mapper<LongWritable, Text, Text, LongWritable> {
    private final Text word = new Text();
    private final LongWritable one = new LongWritable(1);

    @Override
    protected void map(LongWritable at, Text line, Context context)
        throws IOException, InterruptedException {
      IOException[] failed = new IOException[1];
      Words.each(line, (bytes, start, length) -> {
        word.set(bytes, start, length);
        try {
          context.write(word, one);
        } catch (IOException e) {
          failed[0] = e;
        } catch (InterruptedException e) {
          failed[0] = new IOException(e);
        }
      });
      if (failed[0] != null) throw failed[0];
    }
  }

  /** The lines that hold the pattern. */
  public static class Find
      extends Mapper<LongWritable, Text, Text, NullWritable> {
    private byte[] wanted;

    @Override
    protected void setup(Context context) {
      wanted = context.getConfiguration().get("bench.pattern")
          .getBytes(StandardCharsets.ISO_8859_1);
    }

    @Override
    protected void map(LongWritable at, Text line, Context context)
        throws IOException, InterruptedException {
      if (Words.contains(line, wanted)) {
        context.write(line, NullWritable.get());
      }
    }
  }

  /** Input whose key is the record's, so that the sampler sees it. */
  public static class Keyed
      extends FileInputFormat<BytesWritable, BytesWritable> {
    @Override
    protected long computeSplitSize(long block, long least, long most) {
      long size = super.computeSplitSize(block, least, most);
      return Math.max(size / Records.RECORD_BYTES, 1) * Records.RECORD_BYTES;
    }

    @Override
    public RecordReader<BytesWritable, BytesWritable> createRecordReader(
        InputSplit split, TaskAttemptContext context)
        throws IOException, InterruptedException {
      FixedLengthInputFormat.setRecordLength(
          context.getConfiguration(), Records.RECORD_BYTES);
      return new KeyedReader(
          new FixedLengthInputFormat().createRecordReader(split, context));
    }
  }

  /** Reads records and parts them. */
  public static class KeyedReader
      extends RecordReader<BytesWritable, BytesWritable> {
    private final RecordReader<LongWritable, BytesWritable> records;
    private final BytesWritable key = new BytesWritable();
    private final BytesWritable value = new BytesWritable();

    KeyedReader(RecordReader<LongWritable, BytesWritable> records) {
      this.records = records;
    }

    @Override
    public void initialize(InputSplit split, TaskAttemptContext context)
        throws IOException, InterruptedException {
      records.initialize(split, context);
    }

    @Override
    public boolean nextKeyValue() throws IOException, InterruptedException {
      if (!records.nextKeyValue()) return false;
      byte[] bytes = records.getCurrentValue().getBytes();
      key.set(bytes, 0, Records.KEY_BYTES);
      value.set(bytes, Records.KEY_BYTES,
          Records.RECORD_BYTES - Records.KEY_BYTES);
      return true;
    }

    @Override
    public BytesWritable getCurrentKey() {
      return key;
    }

    @Override
    public BytesWritable getCurrentValue() {
      return value;
    }

    @Override
    public float getProgress() throws IOException, InterruptedException {
      return records.getProgress();
    }

    @Override
    public void close() throws IOException {
      records.close();
    }
  }

  private Job describe(String[] args) throws Exception {
    Configuration conf = getConf();
    if (args[0].equals("grep")) conf.set("bench.pattern", args[4]);
    Job job = Job.getInstance(conf, "bench " + args[0]);
    job.setJarByClass(HadoopJobs.class);
    FileInputFormat.addInputPath(job, new Path(args[1]));
    FileOutputFormat.setOutputPath(job, new Path(args[2]));
    job.setNumReduceTasks(Integer.parseInt(args[3]));
    switch (args[0]) {
      case "wordcount":
        job.setMapperClass(Tokenize.class);
        job.setCombinerClass(LongSumReducer.class);
        job.setReducerClass(LongSumReducer.class);
        job.setOutputKeyClass(Text.class);
        job.setOutputValueClass(LongWritable.class);
        break;
      case "grep":
        job.setMapperClass(Find.class);
        job.setNumReduceTasks(0);
        job.setOutputKeyClass(Text.class);
        job.setOutputValueClass(NullWritable.class);
        break;
      case "sort":
        sort(job, new Path(args[2] + ".bounds"));
        break;
      default:
        throw new IllegalArgumentException(args[0]);
    }
    return job;
  }

  private static void sort(Job job, Path bounds) throws Exception {
    job.setInputFormatClass(Keyed.class);
    job.setOutputFormatClass(Records.Output.class);
    job.setMapperClass(Mapper.class);
    job.setReducerClass(Reducer.class);
    job.setOutputKeyClass(BytesWritable.class);
    job.setOutputValueClass(BytesWritable.class);
    job.setPartitionerClass(TotalOrderPartitioner.class);
    TotalOrderPartitioner.setPartitionFile(job.getConfiguration(), bounds);
    // As many samples as TeraSort takes.
    InputSampler.writePartitionFile(job,
        new InputSampler.SplitSampler<BytesWritable, BytesWritable>(
            100000, 10));
  }

  @Override
  public int run(String[] args) throws Exception {
    long began = System.nanoTime();
    Job job = describe(args);
    boolean succeeded;
    if ("yarn".equals(getConf().get("mapreduce.framework.name"))) {
      job.submit();
      ApplicationId id = TypeConverter.toYarn(job.getJobID()).getAppId();
      YarnClient yarn = YarnClient.createYarnClient();
      yarn.init(job.getConfiguration());
      yarn.start();
      boolean running = false;
      ApplicationReport report = yarn.getApplicationReport(id);
      while (report.getFinalApplicationStatus()
          == FinalApplicationStatus.UNDEFINED) {
        YarnApplicationState state = report.getYarnApplicationState();
        if (!running && state == YarnApplicationState.RUNNING) {
          running = true;
          began = System.nanoTime();
        }
        Thread.sleep(POLL_MS);
        report = yarn.getApplicationReport(id);
      }
      succeeded = report.getFinalApplicationStatus()
          == FinalApplicationStatus.SUCCEEDED;
      if (!succeeded) System.err.println(report.getDiagnostics());
      yarn.stop();
    } else {
      succeeded = job.waitForCompletion(false);
    }
    System.out.println("job_seconds " + (System.nanoTime() - began) / 1e9);
    return succeeded ? 0 : 1;
  }

  public static void main(String[] args) throws Exception {
    System.exit(ToolRunner.run(new Configuration(), new HadoopJobs(), args));
  }
}
