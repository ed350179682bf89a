import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

/** Java clients against a broker: prints one line for each thing that holds, and ends with a stack trace for the first that does not. */
public class BrokerClients {
  static String servers;

  static Map<String, Object> common() {
    return new HashMap<>(Map.of("bootstrap.servers", servers, "default.api.timeout.ms", 60000, "request.timeout.ms", 30000));
  }

  static KafkaProducer<String, String> producer(String id, int timeoutMs) {
    Map<String, Object> config = common();
    config.put("transactional.id", id);
    config.put("transaction.timeout.ms", timeoutMs);
    config.put("max.block.ms", 60000);
    config.put("delivery.timeout.ms", 60000);
    config.put("linger.ms", 0);
    return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
  }

  static KafkaConsumer<String, String> consumer(String group, String isolation) {
    Map<String, Object> config = common();
    config.put("group.id", group);
    config.put("isolation.level", isolation);
    config.put("auto.offset.reset", "earliest");
    config.put("enable.auto.commit", false);
    return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
  }

  /** Everything up to the end offsets that this isolation has now, sorted. */
  static List<String> read(String topic, String isolation) {
    try (var consumer = consumer("reader", isolation)) {
      List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
          .map(info -> new TopicPartition(topic, info.partition())).toList();
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
      List<String> values = new ArrayList<>();
      long deadline = System.currentTimeMillis() + 60000;
      while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
        check(System.currentTimeMillis() < deadline, "reading to the end of " + topic);
        for (var record : consumer.poll(Duration.ofMillis(100))) values.add(record.value());
      }
      Collections.sort(values);
      return values;
    }
  }

  static void check(boolean holds, String what) {
    if (!holds) throw new AssertionError("does not hold: " + what);
  }

  static void same(Object expected, Object actual) {
    check(expected.equals(actual), "expected " + expected + ", got " + actual);
  }

  static void send(KafkaProducer<String, String> producer, String topic, String value) {
    producer.send(new ProducerRecord<>(topic, Math.floorMod(value.hashCode(), 2), null, value));
  }

  static void commitAndAbort() throws Exception {
    try (var producer = producer("java-1", 60000)) {
      producer.initTransactions();
      List<String> committed = new ArrayList<>();
      for (int round = 0; round < 20; round++) {
        producer.beginTransaction();
        for (int i = 0; i < 50; i++) send(producer, "plain", round + "/" + i);
        if (round % 3 == 1) {
          // Without this an abort drops what has not been sent yet.
          producer.flush();
          producer.abortTransaction();
        } else {
          producer.commitTransaction();
          for (int i = 0; i < 50; i++) committed.add(round + "/" + i);
        }
      }
      Collections.sort(committed);
      same(committed, read("plain", "read_committed"));
      same(1000, read("plain", "read_uncommitted").size());

      producer.beginTransaction();
      send(producer, "plain", "open");
      producer.flush();
      same(committed, read("plain", "read_committed"));
      producer.abortTransaction();
      same(committed, read("plain", "read_committed"));
    }
    System.out.println("commit and abort");
  }

  /** Copies "from" to "to", in transactions with the source's offsets; every other one is aborted and done again. */
  static void copy() throws Exception {
    try (var source = producer("java-source", 60000)) {
      source.initTransactions();
      source.beginTransaction();
      for (int i = 0; i < 300; i++) send(source, "from", String.format("%03d", i));
      source.commitTransaction();
    }
    List<String> expected = read("from", "read_committed");
    same(300, expected.size());
    for (int round = 0; round < 3; round++) {
      try (var consumer = consumer("copier", "read_committed"); var producer = producer("java-copy", 60000)) {
        producer.initTransactions();
        consumer.subscribe(List.of("from"));
        long deadline = System.currentTimeMillis() + 60000;
        int seen = 0;
        while (System.currentTimeMillis() < deadline && read("to", "read_committed").size() < 300 && seen < 150) {
          var records = consumer.poll(Duration.ofMillis(200));
          if (records.isEmpty()) continue;
          seen += records.count();
          for (boolean commit : new boolean[] {false, true}) {
            producer.beginTransaction();
            for (var record : records) send(producer, "to", record.value());
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            for (var partition : records.partitions()) {
              var list = records.records(partition);
              offsets.put(partition, new OffsetAndMetadata(list.get(list.size() - 1).offset() + 1));
            }
            producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
            if (commit) producer.commitTransaction();
            else producer.abortTransaction();
          }
        }
      }
    }
    same(expected, read("to", "read_committed"));
    System.out.println("copy with offsets");
  }

  static void fencing() throws Exception {
    var zombie = producer("java-fenced", 60000);
    zombie.initTransactions();
    zombie.beginTransaction();
    send(zombie, "fenced", "zombie");
    zombie.flush();
    try (var owner = producer("java-fenced", 60000)) {
      owner.initTransactions();
      owner.beginTransaction();
      send(owner, "fenced", "owner");
      try {
        send(zombie, "fenced", "late");
        zombie.commitTransaction();
        check(false, "the zombie committed");
      } catch (ProducerFencedException | InvalidProducerEpochException error) {
        // As it must be.
      }
      owner.commitTransaction();
    } finally {
      zombie.close(Duration.ZERO);
    }
    same(List.of("owner"), read("fenced", "read_committed"));
    System.out.println("fencing");
  }

  static void timeOut() throws Exception {
    try (var producer = producer("java-slow", 500)) {
      producer.initTransactions();
      producer.beginTransaction();
      send(producer, "slow", "left alone");
      producer.flush();
      Thread.sleep(1200);
      same(List.of(), read("slow", "read_committed"));
      try {
        producer.commitTransaction();
        check(false, "a transaction that had timed out was committed");
      } catch (KafkaException error) {
        // As it must be.
      }
    }
    try (var producer = producer("java-slow", 60000)) {
      producer.initTransactions();
      producer.beginTransaction();
      send(producer, "slow", "again");
      producer.commitTransaction();
    }
    same(List.of("again"), read("slow", "read_committed"));
    System.out.println("time-out");
  }

  static void admin(Admin admin) throws Exception {
    var first = admin.describeTopics(List.of("slow")).allTopicNames().get().get("slow").topicId();
    admin.deleteTopics(List.of("slow")).all().get();
    admin.createTopics(List.of(new NewTopic("slow", 2, (short) 1))).all().get();
    var second = admin.describeTopics(List.of("slow")).allTopicNames().get().get("slow").topicId();
    check(!first.equals(second), "a topic made anew has another id");
    var ids = admin.listTransactions().all().get().stream().map(TransactionListing::transactionalId).sorted().toList();
    same(List.of("java-1", "java-copy", "java-fenced", "java-slow", "java-source"), ids);
    var described = admin.describeTransactions(List.of("java-1")).all().get().get("java-1");
    same(TransactionState.COMPLETE_ABORT, described.state());
    try (var producer = producer("java-1", 60000)) {
      producer.initTransactions();
      producer.beginTransaction();
      producer.send(new ProducerRecord<>("plain", 1, null, "x")).get();
      described = admin.describeTransactions(List.of("java-1")).all().get().get("java-1");
      same(TransactionState.ONGOING, described.state());
      same(Set.of(new TopicPartition("plain", 1)), described.topicPartitions());
      producer.abortTransaction();
    }
    System.out.println("admin");
  }

  public static void main(String[] arguments) throws Exception {
    servers = arguments[0];
    try (var admin = Admin.create(common())) {
      List<NewTopic> topics = new ArrayList<>();
      for (String name : List.of("plain", "from", "to", "fenced", "slow")) topics.add(new NewTopic(name, 2, (short) 1));
      admin.createTopics(topics).all().get();
      commitAndAbort();
      copy();
      fencing();
      timeOut();
      admin(admin);
    }
  }
}
