import java.io.IOException;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.BytesWritable;
import org.apache.hadoop.mapreduce.RecordWriter;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.hadoop.mapreduce.lib.output.FileOutputFormat;

/** Records of 100 bytes, of which the first 10 are the key. */
final class Records {
  static final int RECORD_BYTES = 100;
  static final int KEY_BYTES = 10;

  private Records() {}

  /** Writes key and value one after another and nothing between records. */
  public static class Output
      extends FileOutputFormat<BytesWritable, BytesWritable> {
    @Override
    public RecordWriter<BytesWritable, BytesWritable> getRecordWriter(
        TaskAttemptContext context) throws IOException {
      Path path = getDefaultWorkFile(context, "");
      FSDataOutputStream out =
          path.getFileSystem(context.getConfiguration()).create(path, false);
      return new RecordWriter<BytesWritable, BytesWritable>() {
        @Override
        public void write(BytesWritable key, BytesWritable value)
            throws IOException {
          out.write(key.getBytes(), 0, key.getLength());
          out.write(value.getBytes(), 0, value.getLength());
        }

        @Override
        public void close(TaskAttemptContext closing) throws IOException {
          out.close();
        }
      };
    }
  }
}
